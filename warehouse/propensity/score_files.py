"""File formats for scores: CSV tables of all scores and of a page, and lists for advertising networks."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import IO

from warehouse.kit.csv_cells import cell
from warehouse.propensity.scores import AudienceMember, Score, ScorePage


@dataclass(frozen=True)
class Network:
    """List format of an advertising network.

    Attributes:
        headings: Column headings; empty if the network expects a list without a heading.
        hashes: Attribute of `AudienceMember` for each column.
        minimum_people: Number of people below which the network refuses a list.
    """

    headings: tuple[str, ...]
    hashes: tuple[str, ...]
    minimum_people: int


NETWORKS: dict[str, Network] = {
    # Yandex Audience, segment of CRM data, "Hashed data", SHA-256; telephone numbers are hashed as digits only
    "yandex": Network(("email", "phone"), ("email_sha256", "phone_sha256"), 100),
    # VK Ads, user list of hashed e-mail addresses, one per line
    "vk": Network((), ("email_sha256",), 2_000),
    # Meta, custom audience from a customer list; Meta recognizes hashes
    "meta": Network(("email", "phone"), ("email_sha256", "phone_sha256"), 100),
    # Google Ads, Customer Match. Google hashes telephone numbers with a leading "+", so our hashes would not match.
    "google": Network(("Email",), ("email_sha256",), 100),
}


def write_scores(file: IO[str], scores: Iterable[Score]) -> int:
    """Write scores as CSV with a heading. Return the number of scores."""
    writer = csv.writer(file, lineterminator="\n")
    names = [field.name for field in fields(Score)]
    writer.writerow(names)
    count = 0
    for count, score in enumerate(scores, start=1):  # noqa: B007 - the last number is the result
        writer.writerow([cell(getattr(score, name)) for name in names])
    return count


def write_score_page(file: IO[str], site_id: str, page: ScorePage) -> None:
    """Write a page of a site's scores as CSV with a heading, in the format of the API."""
    writer = csv.writer(file)
    writer.writerow(["site_id", "user_id", "as_of", "score", "decile", "band", "reasons", "model_version", "scored_at"])
    for score in page.scores:
        values = [
            site_id, score.user_id, page.as_of, score.score, score.decile, score.band, score.reasons,
            score.model_version, score.scored_at,
        ]  # fmt: skip
        writer.writerow(map(cell, values))


def write_audience(file: IO[str], people: Sequence[AudienceMember], network: Network) -> int:
    """Write the list for a network. Return the number of lines without the heading.

    People without any of the identifiers that the network accepts are left out.
    """
    writer = csv.writer(file, lineterminator="\n")
    if network.headings:
        writer.writerow(network.headings)
    rows = {tuple(getattr(person, name) or "" for name in network.hashes): None for person in people}
    kept = [row for row in rows if any(row)]
    writer.writerows(kept)
    return len(kept)


def size_warning(network: str, people: int) -> str | None:
    """Return a sentence if a list of this many people is too short for the network, otherwise None."""
    minimum = NETWORKS[network].minimum_people
    return f"The list has {people:,} people; {network} requires at least {minimum:,}." if people < minimum else None
