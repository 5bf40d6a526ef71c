"""Constants of the simulated shop: pages, products, traffic sources, devices and the weekly rhythm.

`behaviour` decides what visitors do and refers to these constants by index. `events` writes their URLs,
titles and user agents into events.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Source:
    """A traffic source of visits, such as a campaign or a search engine."""

    name: str
    referrer: str | None
    """Referrer of the first page view; None for a typed URL or a link in an e-mail."""
    landing: str
    """Path of the landing page."""
    utm_source: str | None = None
    utm_medium: str | None = None
    utm_campaign: str | None = None

    @property
    def utm(self) -> dict[str, str]:
        """UTM parameters without the prefix `utm_`; empty for organic, referral and direct traffic."""
        named = {"source": self.utm_source, "medium": self.utm_medium, "campaign": self.utm_campaign}
        return {key: value for key, value in named.items() if value is not None}


SOURCES: Final = (
    Source("search_brand", "https://www.google.com/", "/", "google", "cpc", "brand"),
    Source("search_generic", "https://yandex.ru/", "/catalog", "yandex", "cpc", "oak-furniture"),
    Source("social_retargeting", "https://vk.com/", "/catalog", "vk", "cpc", "come-back"),
    Source("social_giveaway", "https://vk.com/", "/giveaway", "vk", "social", "giveaway"),
    Source("newsletter", None, "/catalog", "newsletter", "email", "weekly-letter"),
    Source("organic_google", "https://www.google.com/", "/"),
    Source("organic_yandex", "https://yandex.ru/", "/catalog"),
    Source("referral", "https://interior-notes.example/best-chairs", "/catalog"),
    Source("direct", None, "/"),
)

DESKTOP, PHONE, TABLET = 0, 1, 2
DEVICE_NAMES: Final = ("desktop", "phone", "tablet")


@dataclass(frozen=True)
class Agent:
    """A browser on a device; `weight` is its share of visitors, relative to the other agents."""

    device: int
    weight: float
    user_agent: str
    viewport: tuple[int, int]
    """Width and height in CSS pixels."""


_WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
AGENTS: Final = (
    Agent(
        DESKTOP, 20, f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_WEBKIT} Chrome/142.0.0.0 Safari/537.36", (1536, 730)
    ),
    Agent(
        DESKTOP,
        5,
        f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {_WEBKIT} Chrome/142.0.0.0 Safari/537.36",
        (1440, 789),
    ),
    Agent(
        DESKTOP,
        4,
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 "
        "Safari/605.1.15",
        (1728, 963),
    ),
    Agent(DESKTOP, 4, "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0", (1920, 947)),
    Agent(
        DESKTOP,
        5,
        f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_WEBKIT} Chrome/140.0.0.0 YaBrowser/25.10.0.0 Safari/537.36",
        (1366, 625),
    ),
    Agent(
        DESKTOP,
        3,
        f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_WEBKIT} Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0",
        (1536, 703),
    ),
    Agent(DESKTOP, 1, "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", (1920, 969)),
    Agent(
        PHONE,
        18,
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 "
        "Mobile/15E148 Safari/604.1",
        (393, 659),
    ),
    Agent(PHONE, 20, f"Mozilla/5.0 (Linux; Android 10; K) {_WEBKIT} Chrome/142.0.0.0 Mobile Safari/537.36", (412, 763)),
    Agent(
        PHONE,
        6,
        f"Mozilla/5.0 (Linux; Android 15; SM-S921B) {_WEBKIT} SamsungBrowser/28.0 Chrome/130.0.0.0 "
        "Mobile Safari/537.36",
        (360, 649),
    ),
    Agent(
        PHONE,
        6,
        f"Mozilla/5.0 (Linux; arm_64; Android 14; 23021RAA2Y) {_WEBKIT} Chrome/140.0.0.0 YaBrowser/25.10.3.87.00 SA/3 "
        "Mobile Safari/537.36",
        (393, 698),
    ),
    Agent(PHONE, 2, "Mozilla/5.0 (Android 15; Mobile; rv:145.0) Gecko/145.0 Firefox/145.0", (412, 784)),
    Agent(
        TABLET,
        4,
        "Mozilla/5.0 (iPad; CPU OS 17_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.7 "
        "Mobile/15E148 Safari/604.1",
        (820, 1106),
    ),
    Agent(TABLET, 2, f"Mozilla/5.0 (Linux; Android 14; SM-X200) {_WEBKIT} Chrome/142.0.0.0 Safari/537.36", (800, 1208)),
)

CRAWLERS: Final = (
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
    "Mozilla/5.0 (compatible; SemrushBot/7~bl; +http://www.semrush.com/bot.html)",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
)


@dataclass(frozen=True)
class Page:
    """A page of the site; a product page has a price in roubles, without kopecks."""

    path: str
    title: str
    height: int
    """Height of the document in CSS pixels."""
    price: int | None = None

    @property
    def sku(self) -> str:
        """The article number of the product that the page shows."""
        return self.path.rsplit("/", 1)[-1]


PAGES: Final = (
    Page("/", "Oak & Ash: furniture made slowly", 5200),
    Page("/catalog", "Catalogue · Oak & Ash", 6400),
    Page("/giveaway", "Win an armchair · Oak & Ash", 2600),
    Page("/about", "The workshop · Oak & Ash", 3900),
    Page("/delivery", "Delivery and payment · Oak & Ash", 3100),
    Page("/contacts", "Ask for a drawing · Oak & Ash", 2200),
    Page("/letter", "A letter once a week · Oak & Ash", 1800),
    Page("/cart", "Your order · Oak & Ash", 1900),
    Page("/catalog/stool-berg", "Stool “Berg” · Oak & Ash", 4100, 6900),
    Page("/catalog/chair-anna", "Chair “Anna” · Oak & Ash", 4300, 14900),
    Page("/catalog/chair-ake", "Chair “Åke” · Oak & Ash", 4300, 16400),
    Page("/catalog/bench-hall", "Bench “Hall” · Oak & Ash", 4000, 19900),
    Page("/catalog/shelf-lada", "Полка «Лада» · Oak & Ash", 3800, 8400),
    Page("/catalog/shelf-tall", "Tall shelf · Oak & Ash", 4200, 24500),
    Page("/catalog/table-cafe", "Café table · Oak & Ash", 4600, 27900),
    Page("/catalog/table-family", "Стол «Семья» · Oak & Ash", 4900, 58900),
    Page("/catalog/desk-nook", "Desk “Nook” · Oak & Ash", 4500, 34900),
    Page("/catalog/bed-low", "Low bed · Oak & Ash", 4700, 64900),
    Page("/catalog/chest-six", "Chest of six drawers · Oak & Ash", 4400, 47900),
    Page("/catalog/mirror-round", "Round mirror · Oak & Ash", 3600, 11900),
)
PAGE_AT: Final = {page.path: number for number, page in enumerate(PAGES)}
PRODUCTS: Final = tuple(number for number, page in enumerate(PAGES) if page.price is not None)
GLANCED_AT: Final = tuple(PAGE_AT[path] for path in ("/catalog", "/about", "/delivery"))
"""Pages of a visit with the outcome "glance", after the landing page."""

_DESKTOP_HOURS = (4, 2, 1, 1, 1, 2, 5, 12, 28, 46, 58, 62, 58, 60, 62, 60, 56, 50, 44, 42, 42, 38, 26, 12)
_PHONE_HOURS = (14, 7, 4, 3, 3, 6, 14, 26, 34, 34, 34, 36, 42, 40, 36, 36, 40, 48, 58, 68, 76, 78, 62, 34)
_WEEKDAYS = (
    (1.12, 1.15, 1.14, 1.10, 1.00, 0.70, 0.79),  # desktop, Monday first
    (0.97, 0.96, 0.96, 0.97, 1.00, 1.07, 1.07),  # phone
    (0.90, 0.90, 0.92, 0.94, 1.00, 1.17, 1.17),  # tablet
)


def weekly_rhythm() -> NDArray[np.float64]:
    """Return how visits are distributed over a week: shape (device, weekday, hour), in the site's time zone.

    The 168 values of a device sum to 7, so that a visit rate per day keeps its mean.
    """
    hours = np.array([_DESKTOP_HOURS, _PHONE_HOURS, _PHONE_HOURS], dtype=np.float64)
    rhythm = np.array(_WEEKDAYS)[:, :, None] * hours[:, None, :]
    return 7.0 * rhythm / rhythm.sum(axis=(1, 2), keepdims=True)


def agents_of(device: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the indices of the agents of a device, and their cumulative shares."""
    numbers = np.array([n for n, agent in enumerate(AGENTS) if agent.device == device])
    weights = np.array([AGENTS[n].weight for n in numbers], dtype=np.float64)
    return numbers, np.cumsum(weights) / weights.sum()


def device_shares() -> NDArray[np.float64]:
    """Return the share of visitors on each device: shape (device,)."""
    weights = np.zeros(len(DEVICE_NAMES))
    for agent in AGENTS:
        weights[agent.device] += agent.weight
    return weights / weights.sum()
