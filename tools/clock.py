"""The time in a place, and arithmetic on dates. It knows no times of day but the current one."""

from __future__ import annotations

import datetime as dt
import re
from zoneinfo import ZoneInfo, available_timezones

from smolchat import tool

_FORMATS = ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d %B %Y", "%d %b %Y", "%B %d %Y", "%b %d %Y")
_RELATIVE = {"yesterday": -1, "today": 0, "now": 0, "tomorrow": 1}
_FEASTS = {
    "new year": (1, 1),
    "new year's day": (1, 1),
    "valentine's day": (2, 14),
    "halloween": (10, 31),
    "christmas eve": (12, 24),
    "christmas": (12, 25),
    "christmas day": (12, 25),
    "new year's eve": (12, 31),
}
_HERE = {"", "here", "local", "local time"}

_PLACES_BY_ZONE = {
    "Africa/Cairo": "egypt",
    "Africa/Johannesburg": "cape town, durban, pretoria, south africa",
    "Africa/Lagos": "nigeria, abuja",
    "Africa/Nairobi": "kenya",
    "America/Argentina/Buenos_Aires": "argentina",
    "America/Bogota": "colombia",
    "America/Chicago": "dallas, houston, austin, new orleans, minneapolis, texas, cst, cdt",
    "America/Denver": "salt lake city, colorado, mst, mdt",
    "America/Lima": "peru",
    "America/Los_Angeles": "la, san francisco, seattle, san diego, las vegas, portland, california,"
    " pst, pdt",
    "America/New_York": "boston, washington, washington dc, miami, atlanta, philadelphia, nyc,"
    " orlando, est, edt",
    "America/Sao_Paulo": "rio de janeiro, rio, brasilia, brazil, são paulo",
    "America/Toronto": "ottawa, quebec",
    "Asia/Bangkok": "thailand",
    "Asia/Dubai": "abu dhabi, united arab emirates",
    "Asia/Ho_Chi_Minh": "hanoi, vietnam",
    "Asia/Jerusalem": "israel",
    "Asia/Karachi": "pakistan, islamabad, lahore",
    "Asia/Kathmandu": "nepal",
    "Asia/Kolkata": "mumbai, delhi, new delhi, bangalore, bengaluru, chennai, hyderabad, india,"
    " ist",
    "Asia/Manila": "philippines",
    "Asia/Seoul": "south korea, korea, busan",
    "Asia/Shanghai": "beijing, shenzhen, guangzhou, china",
    "Asia/Tokyo": "osaka, kyoto, sapporo, japan, jst",
    "Atlantic/Reykjavik": "iceland",
    "Australia/Sydney": "canberra",
    "Europe/Amsterdam": "netherlands, rotterdam, the hague",
    "Europe/Athens": "greece",
    "Europe/Berlin": "germany, munich, hamburg, frankfurt, cologne, stuttgart, cet, cest",
    "Europe/Brussels": "belgium",
    "Europe/Budapest": "hungary",
    "Europe/Bucharest": "romania",
    "Europe/Copenhagen": "denmark",
    "Europe/Dublin": "ireland",
    "Europe/Helsinki": "finland",
    "Europe/Istanbul": "turkey, ankara",
    "Europe/Kyiv": "ukraine, kiev",
    "Europe/Lisbon": "portugal, porto",
    "Europe/London": "uk, england, britain, scotland, edinburgh, manchester, united kingdom",
    "Europe/Madrid": "spain, barcelona, seville, valencia",
    "Europe/Oslo": "norway, bergen",
    "Europe/Paris": "france, lyon, marseille, nice",
    "Europe/Prague": "czech republic, czechia",
    "Europe/Rome": "italy, milan, naples, venice, florence",
    "Europe/Stockholm": "sweden, gothenburg",
    "Europe/Vienna": "austria, salzburg",
    "Europe/Warsaw": "poland, krakow",
    "Europe/Zurich": "switzerland, geneva, basel, bern",
    "Pacific/Auckland": "new zealand, wellington",
    "Pacific/Honolulu": "hawaii",
}


@tool(effect="pure")
def current_time(place: str = "here") -> str:
    """Tell the current time and date.

    Args:
        place: City, country or time zone
    """
    moment = dt.datetime.now().astimezone(_zone(place))
    return f"{moment:%H:%M} on {_written(moment.date())}"


@tool(effect="pure")
def days_between(start: str, end: str) -> str:
    """Count the days between two dates.

    Args:
        start: First date
        end: Second date
    """
    days = abs((_parsed(end) - _parsed(start)).days)
    return "1 day" if days == 1 else f"{days} days"


@tool(effect="pure")
def add_days(date: str, days: int) -> str:
    """Find the date some days after or before a date.

    Args:
        date: The date, or today
        days: Number of days, negative for before
    """
    try:
        return _written(_parsed(date) + dt.timedelta(days=days))
    except OverflowError as error:
        raise ValueError("the date lies outside the years 1 to 9999") from error


@tool(effect="pure")
def weekday(date: str) -> str:
    """Tell the day of the week of a date.

    Args:
        date: The date, or today
    """
    return _written(_parsed(date))


def _zone(place: str) -> ZoneInfo | None:
    """None stands for the local time zone."""
    wanted = " ".join(place.lower().replace("_", " ").split(",")[0].split())
    if wanted in _HERE:
        return None
    zones = _zones_by_place()
    for name in (place.strip().lower(), wanted, wanted.removesuffix(" city")):
        if name in zones:
            return ZoneInfo(zones[name])
    raise ValueError(f"unknown place {place!r}; name a large city or a zone such as Europe/Paris")


def _zones_by_place() -> dict[str, str]:
    zones = {}
    for zone in sorted(available_timezones()):
        zones[zone.lower()] = zone
        zones[zone.rsplit("/", 1)[-1].replace("_", " ").lower()] = zone
    for zone, places in _PLACES_BY_ZONE.items():
        zones.update(dict.fromkeys(places.split(", "), zone))
    return zones


def _parsed(text: str) -> dt.date:
    """Read a date; without a year it is this year's, and a feast is the next one to come."""
    today = dt.date.today()
    wanted = text.strip().lower().replace("\u2019", "'")
    if wanted in _RELATIVE:
        return today + dt.timedelta(days=_RELATIVE[wanted])
    if wanted in _FEASTS:
        month, day = _FEASTS[wanted]
        past = (today.month, today.day) > (month, day)
        return dt.date(today.year + past, month, day)
    plain = re.sub(r"(?<=\d)(?:st|nd|rd|th)\b|\bof\b|\bthe\b|,", " ", wanted)
    plain = " ".join(plain.split())
    for candidate in (plain, f"{plain} {today.year}"):
        for form in _FORMATS:
            try:
                return dt.datetime.strptime(candidate, form).date()
            except ValueError:
                continue
    raise ValueError(f"{text!r} is not a date; write it as 2026-12-24 or 24 December 2026")


def _written(date: dt.date) -> str:
    return f"{date:%A}, {date.day} {date:%B} {date.year}"
