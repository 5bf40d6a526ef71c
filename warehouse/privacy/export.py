"""Everything that is held about a person, for the person to read: the places of erasure, shown."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from warehouse.kit.settings import Settings
from warehouse.privacy.erase import all_places, require_site, session
from warehouse.privacy.person import Person, find_person

MEANING = {
    "public.users": "The visitor as the website knows it: an id that the browser keeps, and no name",
    "public.sessions": "Visits, as the browser told them apart",
    "public.events": "What was done on the website",
    "archive.events": "What was done on the website, older",
    "cold files": "What was done on the website, oldest, kept outside the database",
    "spool": "What was done on the website and is not in the database yet",
    "public.rejected_events": "What the browser sent and was refused",
    "ops.shared_sessions": "Visits in which the visitor's id changed",
    "ml.propensity_scores": "How likely a purchase or registration was thought to be, and why",
}


def export(url: str, settings: Settings, site_id: str, user_id: str) -> dict[str, Any]:
    """Export the person with one visitor id, as `export_person` does."""
    return export_person(url, settings, Person(site_id, frozenset({user_id})))


def export_person(url: str, settings: Settings, known: Person) -> dict[str, Any]:
    """A JSON document of all rows, by place; places that hold nothing are left out.

    Args:
        url: An address of the database, of the owner or of the login `tilda_privacy`.
        settings: Where spool and cold files are.
        known: What is known of the person: a visitor id at least, or an identity. The rest is found.

    Raises:
        UserError: There is no such site, or a place cannot be read.
    """
    held: list[dict[str, Any]] = []
    with session(url) as connection:
        require_site(connection, known.site_id)
        person = find_person(connection, known)
        for place in all_places(connection, settings):
            with connection.transaction():
                rows = list(place.read(connection, person))
            if rows:
                what = MEANING.get(place.name, "What was worked out from the above for statistics")
                held.append({"place": place.name, "what": what, "count": len(rows), "rows": rows})
    return {
        "site_id": known.site_id,
        "exported_at": datetime.now(UTC).isoformat(),
        "visitor_ids": sorted(person.visitor_ids),
        "held": held,
    }
