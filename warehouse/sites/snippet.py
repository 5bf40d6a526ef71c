"""The HTML that a site's owner pastes into every page."""

from __future__ import annotations

import html
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from warehouse.kit.errors import UserError
from warehouse.kit.settings import Settings
from warehouse.sites.collector import COOKIELESS, WITHOUT_CONSENT
from warehouse.sites.registry import Site


def snippet(site: Site, address: str, settings: Settings) -> str:
    """Return the collector's script tag and, in modes that need no consent, a pixel for browsers without JavaScript.

    Without JavaScript a visitor cannot consent, so the other modes have no pixel.

    Args:
        site: The site that the events belong to.
        address: The ingest API's public URL, from `addresses.public_address`.
        settings: Settings with the paths of the collector and the pixel.

    Raises:
        UserError: The site is closed.
    """
    if not site.is_open:
        raise UserError(
            f"The site {site.site_id} is closed: the API refuses its key.",
            f"Open it with `tilda site set {site.site_id} --reopen`.",
        )
    key = quote(site.public_key, safe="")
    attributes = {
        "src": f"{address}{settings.collector_path}?key={key}",
        # The API serves the script without settings while it does not know the key, for example right after a start.
        "data-site-key": site.public_key,
        "data-consent": site.collector.consent,
    }
    if urlsplit(address).path:
        # Without data-endpoint the collector sends to the origin of its script, which has no path.
        attributes["data-endpoint"] = address
    tag = f"<script async {_written(attributes)}></script>"
    if site.collector.consent not in WITHOUT_CONSENT:
        return tag
    is_cookieless = "&cookieless=1" if site.collector.consent == COOKIELESS else ""
    image = {
        "src": f"{address}{settings.pixel_path}?key={key}{is_cookieless}",
        "alt": "",
        "width": "1",
        "height": "1",
        "style": "position:absolute",
        # The pixel reads the page from the Referer header; this policy sends the full URL, not only the origin.
        "referrerpolicy": "no-referrer-when-downgrade",
    }
    return f"{tag}\n<noscript><img {_written(image)}></noscript>"


def _written(attributes: Mapping[str, str]) -> str:
    return " ".join(f'{name}="{html.escape(value)}"' for name, value in attributes.items())
