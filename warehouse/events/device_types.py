"""The device type in a user agent: desktop, mobile, tablet or tv.

These rules are our own, because no maintained list of device types has a suitable licence. Most rules are for
televisions. ua-parser-rs matches all rules at once with Rust's regex engine, which has no lookaround.
"""

from __future__ import annotations

from ua_parser_rs import DeviceExtractor


def _any(*expressions: str) -> str:
    return f"(?:{'|'.join(expressions)})"


def _any_case(*expressions: str) -> str:
    return f"(?i:{'|'.join(expressions)})"


_ANDROID = r"Android [\d.]+; ?(?:U; ?)?(?:[a-z]{2}[-_][A-Za-z]{2}; ?)?"
"""The text before the model in the user agent of an Android device."""

_MODEL = _ANDROID + r"[^;()]*?"
"""`_ANDROID` and the beginning of the model. An expression appended to it must match within the model."""

_INCHES = r"(?:19|2[023468]|32|39|4[023589]|5[058]|65|7[05]|8[56]|98)"
"""Screen sizes of televisions in inches, which are part of model names: 43LF7130S, LE32B450, NWX-40F171MSY."""

_PLATFORMS = (
    "android ?tv", "apple ?tv", "aquos-?(?:tv|as|browser)", "bravia", "brightsign/", "ce-html", "crkey", "dlnadoc",
    "espial", "firetv", "google ?tv", "hbbtv", "hybridcast/", "inettv", "large screen", r"maple ?\d", "netcast",
    "nettv", "opentv", "philipstv", "roku", "set-?top", "smart-?tv", "sonybdp", "sonycebrowser", "stbapp", "tizen.*tv",
    "tvos", "vidaa", "vizio", "web0s", "webtv", "youview", "[ _-]ott[ _-]", r"linux (?:mips|sh4)",
    "(?:^|[^a-z])(?:d?tv|tivo|viera)(?:[^a-z]|$)",
    r", ?(?:wired|wireless)\)",  # apps of televisions send vendor, model and connection: (LGE, 43UJ630V, wireless)
)  # fmt: skip
"""Standards, platforms and manufacturers of televisions, anywhere in a user agent."""

_BOX_MAKERS = (
    "beelink", "chromecast", "dreamstar", "dune ?hd", "evpad", "formuler", "iconbit (?:xds|movie|xlr)", "invin",
    "mecool", "minix", "mitv", "movix", "mygica", "nexon", "nexus player", "orbsmart", "ozone ?hd", "pendoo",
    "perfeo_pf", "rombica", r"sbdv-\d", "selenga", "shield android", "tanix", "technosat", "transpeed", "tvip", "ugoos",
    "vega s95", "vontar", "vorke", r"yndx-\d", "yundoo", "zidoo",
)  # fmt: skip
"""Manufacturers of Android set-top boxes, anywhere in the model."""

_BOX_MODELS = (
    "a5x", r"adt-\d", "gt-?king", "gt1", "hk1", "km[5-9]", "m8s", r"mag ?[2-5]\d\d", r"mk[89]0\d", "mx(?:9|10)[^0-9]",
    r"neo-[uxz]\d", r"nv-?[57][0-2]\d", r"rk3\d{3}", r"sml-\d{3}", r"tx\d[^0-9]", "z28[^0-9]",
)  # fmt: skip
"""Series of Android set-top boxes, at the beginning of the model."""

_TELEVISIONS = (
    _any_case(*_PLATFORMS),
    r"\bOMI/|STB|\bAFT[A-Z0-9]{1,8}\b",  # Opera's television browser, set-top boxes, models of Amazon's Fire TV
    _MODEL + _any(r"[^D]TV(?:[ _)+;]|$)", "[a-z]TV(?:[^a-z]|$)", "[ _-](?:[AG]|SW)TV", "UHD", r"OTT\d", "PNL_"),
    _MODEL + _any(r"\d[A-Z]{0,2}LED", r"LED[-_ ]?\d\d"),
    _MODEL + r"[-_ ]" + _INCHES + r"(?:[AC-FH-LN-Z][A-Z]{0,4}|[GM][A-Z]{1,4})[-_ ]?\d",  # not 32GB, not 50MP
    _MODEL + r"[-_ ][A-Z]{1,6}" + _INCHES + r"(?:[A-Z]{1,5}[-_ ]?\d\d|[A-Z]{3,6}\d)",
    _MODEL + _any_case("[^a-z](?:shell|ott|iptv|dvb|stick|dongle)[^a-z]", "[^0-9][48]k[^a-z]", "box[^a-z]", "stream"),
    _MODEL + _any_case(*_BOX_MAKERS, "[-_ .;](?:a95x|h96|mxq|t9[56]|x88|x9[26])[^0-9]"),
    _ANDROID + _any_case(*_BOX_MODELS),
)

# The first matching expression decides. A user agent that matches none is a desktop.
_RULES = (
    (_MODEL + _any_case("runbox", "turbox"), "mobile"),  # phones with names like set-top boxes
    *((expression, "tv") for expression in _TELEVISIONS),
    (_any_case("tablet pc", "chromebook"), "desktop"),
    (_any_case("ipad", "tablet", "kindle", "silk/", "playbook"), "tablet"),
    (r"Ya(?:SearchBrowser|SearchApp|App_Android|ndexSearch)/[\d.]+/apad", "tablet"),
    (_any_case("android.*mobile"), "mobile"),
    (_any_case("android"), "tablet"),
    (_any_case("mobi", "iphone", "ipod", "phone", "blackberry", "opera mini", "symbian", "midp"), "mobile"),
)

_extractor = DeviceExtractor([(expression, None, kind, None, None) for expression, kind in _RULES])


def device_type(user_agent: str) -> str:
    """Return the device type (desktop, mobile, tablet or tv) of a user agent that is not a bot's."""
    found = _extractor.extract(user_agent)
    return found.family if found else "desktop"
