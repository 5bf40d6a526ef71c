"""The table of functions and views in sql/README.md."""

from __future__ import annotations

import re
from collections import defaultdict

from warehouse.kit.installation import shipped

CREATE = re.compile(r"^create (?:or replace )?(?:function|view) ([a-z_]+\.[a-z_]+)", re.MULTILINE)
TABLE_ROW = re.compile(r"^\| `([a-z_]+\.[a-z_]+)` \| `(\d{4})` \| (.*) \|$", re.MULTILINE)


def test_readme_lists_the_functions_and_views_that_several_migrations_define() -> None:
    migrations: defaultdict[str, list[str]] = defaultdict(list)
    for file in sorted(shipped("sql").glob("*.sql")):
        for name in CREATE.findall(file.read_text()):
            migrations[name].append(file.stem[:4])
    section = (shipped("sql") / "README.md").read_text().partition("## Functions")[2].partition("## Indexes")[0]
    listed = {name: [*re.findall(r"\d{4}", earlier), newest] for name, newest, earlier in TABLE_ROW.findall(section)}
    assert listed == {name: files for name, files in migrations.items() if len(files) > 1}
