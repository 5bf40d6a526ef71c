"""Export all data of a person from the places that an erasure covers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from warehouse.kit.settings import Settings
from warehouse.privacy.access import all_places, session
from warehouse.privacy.person import Person, find_person
from warehouse.sites.registry import find_site

MEANING = {
    "public.users": "The visitor as the website knows it: an ID that the browser stores, without a name",
    "public.sessions": "Visits",
    "public.events": "Actions on the website",
    "archive.events": "Older actions on the website",
    "cold files": "Oldest actions on the website, stored outside the database",
    "spool": "Actions on the website that are not in the database yet",
    "public.rejected_events": "Data from the browser that was rejected",
    "ops.shared_sessions": "Visits in which the visitor's ID changed",
    "ml.propensity_scores": "Predicted probability of a purchase or registration, with reasons",
}


def export(url: str, settings: Settings, site_id: str, user_id: str) -> dict[str, Any]:
    """Export the person with a visitor ID; see `export_person`."""
    return export_person(url, settings, Person(site_id, frozenset({user_id})))


def export_person(url: str, settings: Settings, known: Person) -> dict[str, Any]:
    """Return a JSON document with all rows of a person by place. Places without rows are left out.

    Args:
        url: Database URL with the owner's login or the login `tilda_privacy`.
        settings: Settings with the location of spool and cold files.
        known: At least one visitor ID or identity of the person. All others are found.

    Raises:
        UserError: The site does not exist, or a place cannot be read.
    """
    held: list[dict[str, Any]] = []
    with session(url) as connection:
        find_site(connection, known.site_id)
        person = find_person(connection, known)
        for place in all_places(connection, settings):
            with connection.transaction():
                rows = list(place.read(connection, person))
            if rows:
                what = MEANING.get(place.name, "Statistics computed from the data above")
                held.append({"place": place.name, "what": what, "count": len(rows), "rows": rows})
    return {
        "site_id": known.site_id,
        "exported_at": datetime.now(UTC).isoformat(),
        "visitor_ids": sorted(person.visitor_ids),
        "held": held,
    }
