"""The HTML that a site's owner pastes into every page."""

from __future__ import annotations

import html
from urllib.parse import quote, urlsplit

from warehouse.kit.errors import UserError
from warehouse.kit.settings import Settings
from warehouse.sites.registry import Site


def snippet(site: Site, address: str, settings: Settings) -> str:
    """Return the collector's script tag, and a pixel for browsers without JavaScript.

    Args:
        site: The site that the events belong to.
        address: The ingest API's public URL, from `addresses.public_address`.
        settings: For the paths of the collector and the pixel.

    Raises:
        UserError: The site is closed.
    """
    if not site.is_open:
        raise UserError(
            f"The site {site.site_id} is closed: the API refuses its key.",
            f"Open it with `tilda site set {site.site_id} --reopen`.",
        )
    key = html.escape(site.public_key)
    script = html.escape(f"{address}{settings.collector_path}")
    pixel = html.escape(f"{address}{settings.pixel_path}?key={quote(site.public_key, safe='')}")
    # By default the collector sends to its script's origin, so an address with a path needs data-endpoint.
    endpoint = f' data-endpoint="{html.escape(address)}"' if urlsplit(address).path else ""
    # The pixel reads the page from the Referer header; this policy sends the full URL, not only the origin.
    return (
        f'<script async src="{script}" data-site-key="{key}"{endpoint}></script>\n'
        f'<noscript><img src="{pixel}" alt="" width="1" height="1" '
        'style="position:absolute" referrerpolicy="no-referrer-when-downgrade"></noscript>'
    )
