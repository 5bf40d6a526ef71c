"""Convert rows of events to dicts in the import format (`tilda import --format events`)."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demo.simulation.browsing import KINDS
from demo.simulation.identity import Names
from demo.simulation.shop import AGENTS, CRAWLERS, PAGES, SOURCES, Page

Event = dict[str, Any]
"""An event that `tilda import --format events` can read; contains only JSON types."""

CURRENCY = "RUB"
_CRAWLER_VIEWPORT = (1024, 768)
_CLOCK = [f"T{s // 3600:02}:{s // 60 % 60:02}:{s % 60:02}" for s in range(86_400)]
_MILLISECONDS = [f".{ms:03}Z" for ms in range(1000)]
_PAGE_VIEW = KINDS.index("page_view")
_FORMS = {
    "/contacts": {"id": "form-contacts", "name": "Ask for a drawing"},
    "/letter": {"id": "form-letter", "name": "A letter once a week"},
}

_Numbers = tuple[int, int, int, int]
"""The columns detail, x, y and number of an event (see `browsing.EVENT`)."""


class Formatter:
    """Formats the events of one run.

    Args:
        domain: Host name of the shop.
        names: Generates the IDs of the run.
    """

    def __init__(self, domain: str, names: Names) -> None:
        self._names = names
        self._urls = [f"https://{domain}{page.path}" for page in PAGES]
        self._landing_urls = [
            [
                url + ("?" + "&".join(f"utm_{k}={v}" for k, v in source.utm.items()) if source.utm else "")
                for url in self._urls
            ]
            for source in SOURCES
        ]

    def events(self, rows: NDArray[np.void]) -> Iterator[Event]:
        """Yield one event per row (dtype EVENT), in the same order."""
        names, urls, landing_urls = self._names, self._urls, self._landing_urls
        user_ids, addresses = _of_each(rows["visitor"], lambda n: (names.uuids("user", n), names.addresses(n)))
        (session_ids,) = _of_each(rows["visit"], lambda n: (names.uuids("session", n),))
        (view_ids,) = _of_each(rows["view"], lambda n: (names.uuids("view", n),))
        columns = zip(
            *(
                rows[name].tolist()
                for name in ("kind", "source", "agent", "page", "previous", "detail", "x", "y", "number")
            ),
            names.uuids("event", rows["number"]),
            user_ids,
            addresses,
            session_ids,
            view_ids,
            timestamps(rows["at"] + rows["clock"]),
            timestamps(rows["sent"] + rows["clock"]),
            timestamps(rows["received"]),
            strict=True,
        )
        for (
            kind, source_number, agent_number, page_number, previous, detail, x, y, number,
            event_id, user_id, address, session_id, view_id, created_at, sent_at, received_at,
        ) in columns:  # fmt: skip
            page = PAGES[page_number]
            if agent_number >= 0:
                agent = AGENTS[agent_number]
                user_agent, (width, height) = agent.user_agent, agent.viewport
            else:
                user_agent, (width, height) = CRAWLERS[-1 - agent_number], _CRAWLER_VIEWPORT
            payload: Event = {
                "page_view_id": view_id,
                "page": {"width": width, "height": page.height},
                "viewport": {"width": width, "height": height},
            }
            url, referrer = urls[page_number], urls[previous]
            if previous < 0:
                source = SOURCES[source_number]
                url, referrer = landing_urls[source_number][page_number], source.referrer
                if kind == _PAGE_VIEW and source.utm:
                    payload["utm"] = source.utm
            describe = _SECTIONS[kind]
            element = text = None
            if describe is not None:
                element, text = describe(payload, page, (detail, x, y, number))
            yield {
                "event_id": event_id,
                "event_type": KINDS[kind],
                "created_at": created_at,
                "session_id": session_id,
                "user_id": user_id,
                "page_url": url,
                "page_title": page.title,
                "referrer": referrer,
                "target_element": element,
                "target_text": text,
                "payload": payload,
                "sent_at": sent_at,
                "received_at": received_at,
                "ip_address": address,
                "user_agent": user_agent,
            }


_Target = tuple[str | None, str | None]
"""CSS selector and text of the event's target element."""


def _scroll(payload: Event, _page: Page, numbers: _Numbers) -> _Target:
    payload["scroll"] = {"scrollPercent": numbers[0]}
    return None, None


def _page_leave(payload: Event, _page: Page, numbers: _Numbers) -> _Target:
    payload["timing"] = {"timeOnPage": numbers[1] / 10}
    payload["scroll"] = {"scrollPercent": numbers[0]}
    return None, None


def _click(payload: Event, _page: Page, numbers: _Numbers) -> _Target:
    payload["click"] = {"x": numbers[1], "y": numbers[2], "button": 0}
    return "a.t-menu__link-item", PAGES[numbers[0]].title


def _add_to_cart(payload: Event, _page: Page, numbers: _Numbers) -> _Target:
    payload["order"] = _order(numbers[0])
    return "a.t-btn", "Into the cart"


def _purchase(payload: Event, _page: Page, numbers: _Numbers) -> _Target:
    payload["order"] = {"id": str(1_000_000 + numbers[3]), **_order(numbers[0])}
    return "form.t-form", None


def _form(payload: Event, page: Page, _numbers: _Numbers) -> _Target:
    payload["form"] = dict(_FORMS[page.path])
    return "form.t-form", None


def _form_submit(payload: Event, page: Page, numbers: _Numbers) -> _Target:
    payload["form"] = {**_FORMS[page.path], "tranid": f"4417:{numbers[3]}"}
    return "form.t-form", None


_DESCRIBED = {
    "scroll": _scroll,
    "click": _click,
    "add_to_cart": _add_to_cart,
    "form_start": _form,
    "form_abandon": _form,
    "form_submit": _form_submit,
    "signup": _form,
    "purchase": _purchase,
    "page_leave": _page_leave,
}
_SECTIONS = [_DESCRIBED.get(name) for name in KINDS]


def timestamps(moments: NDArray[np.int64]) -> list[str]:
    """Format milliseconds since 1970 as RFC 3339 timestamps in UTC, with milliseconds."""
    days, rest = np.divmod(moments, 86_400_000)
    seconds, milliseconds = np.divmod(rest, 1000)
    known_days, which = np.unique(days, return_inverse=True)
    dates = np.datetime_as_string(known_days.astype("datetime64[D]")).tolist()
    parts = zip(which.tolist(), seconds.tolist(), milliseconds.tolist(), strict=True)
    return [dates[day] + _CLOCK[second] + _MILLISECONDS[millisecond] for day, second, millisecond in parts]


def _order(product: int) -> Event:
    page = PAGES[product]
    item = {"name": page.title.split(" · ")[0], "sku": page.sku, "price": page.price, "quantity": 1}
    return {"amount": page.price, "currency": CURRENCY, "items": [item]}


def _of_each(
    numbers: NDArray[np.int64], named: Callable[[NDArray[np.int64]], tuple[list[str], ...]]
) -> tuple[list[str], ...]:
    """Call `named` with the distinct numbers only, and expand each of its lists to the order of `numbers`."""
    distinct, which = np.unique(numbers, return_inverse=True)
    positions = which.tolist()
    return tuple([values[position] for position in positions] for values in named(distinct))
