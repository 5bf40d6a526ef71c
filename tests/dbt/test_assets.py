"""The asset names that validate a selection match Dagster's asset graph."""

from orchestration.selection import known_assets


def test_known_assets_match_the_dagster_graph() -> None:
    from orchestration.definitions import defs  # noqa: PLC0415 - dbt may parse its project first

    graph = defs.resolve_asset_graph()
    assert known_assets() == {key.to_user_string(): graph.get(key).group_name for key in graph.get_all_asset_keys()}
