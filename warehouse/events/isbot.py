"""The copy of isbot's patterns in `data/`: reading it, and renewing it from npm (`make bots`).

isbot (npm, public domain under the Unlicense) keeps regular expressions that match the user agents of crawlers, HTTP
libraries, headless browsers and synthetic monitors.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from warehouse.kit.errors import UserError

PACKAGE = "isbot"
_DATA = Path(__file__).parent / "data"
_FILE = _DATA / "isbot.json"
_LICENSE = _DATA / "isbot.LICENSE"

_LOOKBEHIND = re.compile(r"\(\?<!([^()]*\|[^()]*)\)")
_HYPHEN_AFTER_CLASS = re.compile(r"(\\[dsw])-(?=[^\]])")


def version() -> str:
    """The release of isbot that the copy was taken from."""
    return _read()["version"]


def patterns() -> list[str]:
    """The patterns in Python's syntax, in lower case, for user agents in lower case."""
    return [translate(pattern) for pattern in _read()["patterns"]]


def translate(pattern: str) -> str:
    r"""Rewrite what Python and Rust read in another way than JavaScript.

    Python's lookbehinds have one width, so `(?<!ab|c)` becomes `(?<!ab)(?<!c)`. A hyphen after a class such as `\d` in
    a set is itself in JavaScript and an error in Python.
    """
    single = _LOOKBEHIND.sub(lambda found: "".join(f"(?<!{text})" for text in found[1].split("|")), pattern)
    return _HYPHEN_AFTER_CLASS.sub(r"\1\\-", single)


def renew() -> str:
    """Take the copy again from the newest release on npm; return its version.

    Raises:
        UserError: npm cannot get the package, or Python cannot compile one of its patterns.
    """
    with tempfile.TemporaryDirectory(prefix="isbot-") as folder:
        packed = _run(["npm", "pack", "--silent", "--pack-destination", folder, PACKAGE], folder).strip()
        with tarfile.open(Path(folder) / packed) as archive:
            archive.extractall(folder, filter="data")
        package = Path(folder) / "package"
        manifest = json.loads((package / "package.json").read_text())
        listed = json.loads(_run(["node", "-p", 'JSON.stringify(require("./package").list)'], folder))
        license_text = (package / "LICENSE").read_text()
    for pattern in listed:
        try:
            re.compile(translate(pattern))
        except re.error as error:
            raise UserError(
                f"Python cannot compile isbot's pattern {pattern}: {error}.", "Extend warehouse.events.isbot.translate."
            ) from error
    if manifest["license"] != "Unlicense":
        raise UserError(
            f"isbot {manifest['version']} has the license {manifest['license']}.",
            "Read it before you commit its patterns.",
        )
    content = {"package": PACKAGE, "version": manifest["version"], "license": manifest["license"], "patterns": listed}
    _FILE.write_text(json.dumps(content, indent=2) + "\n")
    _LICENSE.write_text(license_text)
    return manifest["version"]


def _read() -> dict[str, Any]:
    return json.loads(_FILE.read_text())


def _run(command: list[str], folder: str) -> str:
    try:
        return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise UserError(
            f"{' '.join(command[:2])} failed: {error}.", "Check that node, npm and its registry work."
        ) from error


if __name__ == "__main__":
    try:
        sys.stdout.write(f"isbot {renew()}, {len(patterns())} patterns\n")
    except UserError as failure:
        sys.exit(str(failure))
