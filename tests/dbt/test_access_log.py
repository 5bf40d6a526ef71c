"""A real log, row for row: the models against pandas. `python -m bench.access_log` does the same with any log."""

from __future__ import annotations

from tests.dbt.access_log import differing, modelled_sessions, read_page_views, recompute_sessions
from tests.dbt.conftest import HASH_KEY, Models
from tests.dbt.events import LOG_SITE, SITES
from tests.e2e.sample_log import SAMPLE_LOG


def test_sessions_of_a_real_log(models: Models) -> None:
    timezone, domains = SITES[LOG_SITE]
    expected = recompute_sessions(read_page_views(SAMPLE_LOG, LOG_SITE, domains, HASH_KEY), timezone)
    modelled = modelled_sessions(models.connection, LOG_SITE)
    assert len(expected) > 1000
    assert len(modelled) == len(expected)
    others = differing(modelled, expected)
    assert others.empty, others.head(10).to_string()
