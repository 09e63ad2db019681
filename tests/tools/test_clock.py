from __future__ import annotations

import datetime as dt
import re
from zoneinfo import ZoneInfo

import pytest


@pytest.mark.parametrize(
    ("place", "zone"),
    [
        ("Tokyo", "Asia/Tokyo"),
        ("new york city", "America/New_York"),
        ("San Francisco", "America/Los_Angeles"),
        ("Paris, France", "Europe/Paris"),
        ("India", "Asia/Kolkata"),
        ("America/Sao_Paulo", "America/Sao_Paulo"),
        ("utc", "UTC"),
    ],
)
def test_current_time_knows_cities_countries_and_zones(tools, place, zone):
    before = dt.datetime.now(ZoneInfo(zone))
    answer = tools["current_time"](place)
    after = dt.datetime.now(ZoneInfo(zone))
    assert answer[:5] in (f"{before:%H:%M}", f"{after:%H:%M}")
    assert answer.endswith((str(before.year), str(after.year)))


def test_current_time_without_a_place_is_local(tools):
    assert re.fullmatch(r"\d\d:\d\d on \w+day, \d{1,2} \w+ \d{4}", tools["current_time"]())


def test_an_unknown_place_is_named_in_the_error(tools):
    with pytest.raises(ValueError, match="unknown place 'Atlantis'"):
        tools["current_time"]("Atlantis")


@pytest.mark.parametrize(
    "written",
    [
        "2026-12-24",
        "24 December 2026",
        "December 24, 2026",
        "24th of December 2026",
        "the 24th of Dec 2026",
        "24.12.2026",
        " 2026/12/24 ",
    ],
)
def test_dates_are_read_as_people_write_them(tools, written):
    assert tools["weekday"](written) == "Thursday, 24 December 2026"


def test_a_date_without_a_year_is_this_years(tools):
    assert tools["weekday"]("3 March").endswith(f"3 March {dt.date.today().year}")


def test_a_feast_is_the_next_one_to_come(tools):
    year = int(tools["weekday"]("Christmas").rsplit(" ", 1)[1])
    assert dt.date(year, 12, 25) >= dt.date.today() > dt.date(year - 1, 12, 25)


def test_days_between_counts_in_either_direction(tools):
    assert tools["days_between"]("1 March 2024", "1 February 2024") == "29 days"
    assert tools["days_between"]("today", "tomorrow") == "1 day"


def test_add_days_goes_forward_and_back(tools):
    assert tools["add_days"]("15 January 2026", 30) == "Saturday, 14 February 2026"
    assert tools["add_days"]("2026-03-01", -1) == "Saturday, 28 February 2026"


def test_dates_outside_the_calendar_are_refused(tools):
    with pytest.raises(ValueError, match="years 1 to 9999"):
        tools["add_days"]("today", 10**9)
    with pytest.raises(ValueError, match="'31 June 2026' is not a date"):
        tools["weekday"]("31 June 2026")
