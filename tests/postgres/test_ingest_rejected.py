"""Rejected events can be listed and replayed."""

import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from tests.batches import read_batch
from warehouse.events.enrichment import make_rejected_row
from warehouse.events.landing import IMPORT, land
from warehouse.events.schema import Limits, Row
from warehouse.kit.database import connect
from warehouse.rejected.rejected_events import Filter, count_rejected, list_rejected, replay_rejected

SMALL = Limits(max_payload_bytes=200)


def test_rejected_events_are_listed_and_replayed_once(database_url: str):
    ids = [str(uuid4()) for _ in range(4)]
    arrived = datetime.now(UTC) - timedelta(days=3)
    batch: list[dict[str, object]] = [
        {"event_id": ids[0], "event_type": "page_view", "payload": {"text": "x" * 300}},
        {
            "event_id": ids[1],
            "event_type": "page_view",
            "payload": {"text": "y" * 300},
            "created_at": arrived.isoformat(),
        },
        {"event_id": ids[2], "event_type": "click", "payload": {}},
        {"event_id": ids[3], "event_type": "page_view", "payload": {"text": "z" * 20_000}},
    ]
    batch[1]["created_at"] = arrived.isoformat()
    with connect(database_url) as connection:
        rejections = read_batch(json.dumps(batch).encode(), SMALL).rejected
        rows = [make_rejected_row(rejection, site_id="shop", source="api") for rejection in rejections]
        for row in rows:
            row.arrived_at = arrived
        # A row that skipped validation and is rejected by a CHECK constraint.
        refused = Row(site_id="shop", source="api", event_id=uuid4(), event_type="click", page_title="kept whole")
        refused.payload = {"click": {"x": "1"}}
        land(connection, [*rows, refused])

        counts = {(site, code): number for site, code, number, _ in count_rejected(connection, Filter())}
        assert counts == {
            ("shop", "payload_too_large"): 3,
            ("shop", "invalid_payload"): 1,
            ("shop", "refused_by_database"): 1,
        }
        assert {refusal.event_id for refusal in list_rejected(connection, Filter(code="payload_too_large"))} == {
            ids[0], ids[1], ids[3]
        }  # fmt: skip
        assert list_rejected(connection, Filter(site_id="other")) == []
        assert list_rejected(connection, Filter(since=datetime.now(UTC) + timedelta(days=1))) == []
        assert len(list_rejected(connection, Filter(), most=2)) == 2

        first = replay_rejected(connection, Filter(code="payload_too_large"))
        assert (first.landed, first.known, first.still) == (2, 0, {"body_was_shortened": 1})
        again = replay_rejected(connection, Filter())
        assert (again.landed, again.known) == (0, 0)
        assert again.still == {"body_was_shortened": 1, "invalid_payload": 2}
        [kept] = list_rejected(connection, Filter(code="refused_by_database"))
        assert json.loads(kept.body or "")["page_title"] == "kept whole"
        assert sum(number for _, _, number, _ in count_rejected(connection, Filter())) == 3

        stored = connection.execute("select event_id::text, received_at from public.events order by payload").fetchall()
        assert stored == [(ids[0], arrived), (ids[1], arrived)]

        land(connection, rows[:1])  # the event is rejected again after it was stored
        assert replay_rejected(connection, Filter(code="payload_too_large")).known == 1


def test_a_replayed_import_line_keeps_its_time(database_url: str):
    body = {"event_id": "order-7", "event_type": "page_view", "created_at": "2019-05-05T12:00:00Z"}
    late = Row(site_id="shop", source="import", reject_code="was_refused", reject_body=json.dumps(body))
    with connect(database_url) as connection:
        land(connection, [late], IMPORT)
        first = replay_rejected(connection, Filter())
        assert (first.landed, first.known, first.still) == (1, 0, {})
        assert connection.execute("select created_at, received_at, source from public.events").fetchall() == [
            (datetime(2019, 5, 5, 12, tzinfo=UTC), datetime(2019, 5, 5, 12, tzinfo=UTC), "import")
        ]
        assert list_rejected(connection, Filter()) == []
