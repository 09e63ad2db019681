from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("value", "from_unit", "to_unit", "result"),
    [
        (5, "miles", "kilometres", "8.04672 kilometres"),
        (6, "feet", "cm", "182.88 cm"),
        (1, "inch", "millimeters", "25.4 millimeters"),
        (5, "lbs", "kg", "2.26796 kg"),
        (98.6, "\u00b0F", "degrees Celsius", "37 degrees Celsius"),
        (0, "celsius", "kelvin", "273.15 kelvin"),
        (-40, "C", "F", "-40 F"),
        (2, "cups", "ml", "473.176 ml"),
        (100, "kilometres per hour", "mph", "62.1371 mph"),
        (10, "m/s", "km/h", "36 km/h"),
        (1, "hectare", "square metres", "10000 square metres"),
        (50, "sq ft", "m\u00b2", "4.64515 m\u00b2"),
        (1, "GB", "megabytes", "1000 megabytes"),
        (1, "GiB", "mebibytes", "1024 mebibytes"),
        (2, "days", "minutes", "2880 minutes"),
        (3, "weeks", "seconds", "1814400 seconds"),
        (12, "stone", "Kilograms", "76.2035 Kilograms"),
    ],
)
def test_units_are_converted_under_their_usual_names(tools, value, from_unit, to_unit, result):
    assert tools["convert_units"](value, from_unit, to_unit) == result


@pytest.mark.parametrize(
    ("value", "from_unit", "to_unit", "complaint"),
    [
        (1, "kg", "metres", "'kg' is a unit of mass, 'metres' of length"),
        (1, "Celsius", "kg", "temperature"),
        (1, "glasses", "litres", "unknown unit 'glasses'"),
        (-300, "Celsius", "Kelvin", "absolute zero"),
        (float("inf"), "m", "km", "too large"),
    ],
)
def test_conversions_without_a_meaning_are_refused(tools, value, from_unit, to_unit, complaint):
    with pytest.raises(ValueError, match=complaint):
        tools["convert_units"](value, from_unit, to_unit)
