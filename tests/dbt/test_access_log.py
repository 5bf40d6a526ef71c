"""The sessions of a real log match pandas, row by row. `python -m bench.access_log` compares any other log."""

from __future__ import annotations

from tests.dbt.access_log import differing, modelled_sessions, read_page_views, recompute_sessions
from tests.dbt.conftest import HASH_KEY, Models
from tests.dbt.events import LOG_SITE, SITES
from tests.e2e.sample_log import SAMPLE_LOG


def test_sessions_of_a_real_log_match_pandas(models: Models) -> None:
    timezone, domains = SITES[LOG_SITE]
    expected = recompute_sessions(read_page_views(SAMPLE_LOG, LOG_SITE, domains, HASH_KEY), timezone)
    modelled = modelled_sessions(models.connection, LOG_SITE)
    assert len(expected) > 1000
    assert len(modelled) == len(expected)
    differences = differing(modelled, expected)
    assert differences.empty, differences.head(10).to_string()
