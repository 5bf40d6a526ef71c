"""Options of the benchmarks."""

from __future__ import annotations

import pytest

from bench import ageing


def test_ageing_refuses_too_few_months(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["bench.ageing", "--months", "3"])
    with pytest.raises(SystemExit, match="2"):
        ageing.main()
    assert "Use --months 5 or more." in capsys.readouterr().err
