"""`make docs`: write the dbt documentation as one HTML page, with column types and table sizes from the database."""

from __future__ import annotations

import os
import subprocess
import sys

from orchestration.lib.dbt import dbt_environment, dbt_executable, link_project, project_folder, target_folder
from warehouse.kit.database import direct_url
from warehouse.kit.errors import UserError
from warehouse.kit.settings import load_settings


def main() -> int:
    """Write the page and print its path; return the exit code, 0 on success."""
    settings = load_settings()
    target = target_folder(settings) / "docs"
    command = [dbt_executable(), "--quiet", "docs", "generate", "--static"]
    link_project(settings)
    folder = os.fspath(project_folder(settings))
    command += ["--project-dir", folder, "--profiles-dir", folder]
    command += ["--target-path", os.fspath(target), "--log-path", os.fspath(target)]
    try:
        environment = os.environ | dbt_environment(direct_url(settings))
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    code = subprocess.run(command, env=environment, check=False).returncode
    if code == 0:
        sys.stdout.write(f"{target / 'static_index.html'}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
