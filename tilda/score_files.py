"""Scores as files: a table for people, and lists that advertising networks take."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import IO

from warehouse.propensity.scores import Person, Score


@dataclass(frozen=True)
class Network:
    """What one network takes: the heading of each column and which hash stands in it.

    A network whose list holds one identifier a line has no heading, and gets the e-mail's.
    """

    headings: tuple[str, ...]
    hashes: tuple[str, ...]
    least: int


NETWORKS: dict[str, Network] = {
    # Yandex Audience, segment of CRM data, "Hashed data", SHA-256; the telephone hashed as digits
    "yandex": Network(("email", "phone"), ("email_sha256", "phone_sha256"), 100),
    # VK Ads, user list of e-mail addresses, hashed: one a line
    "vk": Network((), ("email_sha256",), 2_000),
    # Meta, custom audience from a customer list; hashes are recognised as such
    "meta": Network(("email", "phone"), ("email_sha256", "phone_sha256"), 100),
    # Google Ads, Customer Match. It hashes telephones with a leading "+", as ours are not, so they would match nobody
    "google": Network(("Email",), ("email_sha256",), 100),
}


def write_scores(file: IO[str], scores: Iterable[Score]) -> int:
    """Write scores as CSV with a heading; returns how many."""
    writer = csv.writer(file, lineterminator="\n")
    names = [field.name for field in fields(Score)]
    writer.writerow(names)
    count = 0
    for count, score in enumerate(scores, start=1):  # noqa: B007 - the last number is the result
        writer.writerow([_cell(getattr(score, name)) for name in names])
    return count


def write_audience(file: IO[str], people: Sequence[Person], network: Network) -> int:
    """Write the list that a network takes; returns how many lines it holds beside the heading.

    Whoever gave nothing that the network takes is left out.
    """
    writer = csv.writer(file, lineterminator="\n")
    if network.headings:
        writer.writerow(network.headings)
    rows = {tuple(getattr(person, name) or "" for name in network.hashes): None for person in people}
    kept = [row for row in rows if any(row)]
    writer.writerows(kept)
    return len(kept)


def _cell(value: object) -> object:
    if isinstance(value, list):
        value = "; ".join(map(str, value))
    if hasattr(value, "isoformat"):
        return value.isoformat()  # pyright: ignore[reportAttributeAccessIssue]
    # A spreadsheet would run a text that begins so, and visitors choose their ids.
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
