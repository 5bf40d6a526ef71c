"""Reads the copy of isbot's patterns in `data/`, and updates the copy from npm (`make bots`).

isbot (npm, public domain under the Unlicense) contains regular expressions for the user agents of crawlers, HTTP
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
    """Return the version of isbot from which the patterns were copied."""
    return _read()["version"]


def patterns() -> list[str]:
    """Return the patterns in Python's syntax. They are in lower case and match user agents in lower case."""
    return [translate(pattern) for pattern in _read()["patterns"]]


def translate(pattern: str) -> str:
    r"""Convert a JavaScript pattern to the syntax of Python and Rust.

    Python's lookbehinds have a fixed width, so `(?<!ab|c)` becomes `(?<!ab)(?<!c)`. A hyphen in a set after a class
    such as `\d` is literal in JavaScript but an error in Python, so the hyphen is escaped.
    """
    single = _LOOKBEHIND.sub(lambda found: "".join(f"(?<!{text})" for text in found[1].split("|")), pattern)
    return _HYPHEN_AFTER_CLASS.sub(r"\1\\-", single)


def renew() -> str:
    """Update the copy from the newest release on npm; return its version.

    Raises:
        UserError: npm cannot get the package, Python cannot compile a pattern, or the licence has changed.
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
            "Read the license before you update the patterns.",
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
            f"{' '.join(command[:2])} failed: {error}.",
            "Check that node and npm work and that the npm registry can be reached.",
        ) from error


if __name__ == "__main__":
    try:
        sys.stdout.write(f"isbot {renew()}, {len(patterns())} patterns\n")
    except UserError as failure:
        sys.exit(str(failure))
