"""Conversion between units of length, mass, temperature, volume, speed, area, data and time."""

from __future__ import annotations

import math
import re

from smolchat import tool

_FACTORS: dict[str, dict[str, float]] = {
    "length": {
        "mm, millimeter": 0.001,
        "cm, centimeter": 0.01,
        "m, meter": 1.0,
        "km, kilometer": 1000.0,
        "in, inch, inche": 0.0254,
        "ft, foot, feet": 0.3048,
        "yd, yard": 0.9144,
        "mi, mile": 1609.344,
        "nautical mile": 1852.0,
    },
    "mass": {
        "mg, milligram": 1e-6,
        "g, gram": 0.001,
        "kg, kilo, kilogram": 1.0,
        "t, ton, tonne, metric ton": 1000.0,
        "oz, ounce": 0.028349523125,
        "lb, pound": 0.45359237,
        "st, stone": 6.35029318,
    },
    "volume": {
        "ml, milliliter": 0.001,
        "cl, centiliter": 0.01,
        "dl, deciliter": 0.1,
        "l, liter": 1.0,
        "cubic meter, m3, m³": 1000.0,
        "tsp, teaspoon": 0.00492892159375,
        "tbsp, tablespoon": 0.01478676478125,
        "fl oz, fluid ounce": 0.0295735295625,
        "cup": 0.2365882365,
        "pt, pint": 0.473176473,
        "qt, quart": 0.946352946,
        "gal, gallon": 3.785411784,
    },
    "speed": {
        "m/s, meter per second": 1.0,
        "km/h, kph, kmh, kilometer per hour": 1 / 3.6,
        "mph, mi/h, mile per hour": 0.44704,
        "kn, kt, knot": 1852 / 3600,
        "ft/s, foot per second, feet per second": 0.3048,
    },
    "area": {
        "cm2, cm², square centimeter": 0.0001,
        "m2, m², sqm, sq m, square meter": 1.0,
        "km2, km², sq km, square kilometer": 1e6,
        "ha, hectare": 1e4,
        "acre": 4046.8564224,
        "sq in, square inch, square inche": 0.00064516,
        "ft2, ft², sq ft, sqft, square foot, square feet": 0.09290304,
        "square yard": 0.83612736,
        "sq mi, square mile": 2589988.110336,
    },
    "data": {
        "bit": 0.125,
        "b, byte": 1.0,
        "kilobit, kbit": 125.0,
        "megabit, mbit": 125e3,
        "gigabit, gbit": 125e6,
        "kb, kilobyte": 1e3,
        "mb, megabyte": 1e6,
        "gb, gigabyte": 1e9,
        "tb, terabyte": 1e12,
        "kib, kibibyte": 1024.0,
        "mib, mebibyte": 1024.0**2,
        "gib, gibibyte": 1024.0**3,
        "tib, tebibyte": 1024.0**4,
    },
    "time": {
        "ms, millisecond": 0.001,
        "s, sec, second": 1.0,
        "min, minute": 60.0,
        "h, hr, hour": 3600.0,
        "day": 86400.0,
        "week": 604800.0,
        "year": 365 * 86400.0,
    },
}
"""For each quantity, the spellings of a unit and its size; US cups, pints and gallons."""

_UNITS = {
    spelling: (quantity, factor)
    for quantity, factors in _FACTORS.items()
    for spellings, factor in factors.items()
    for spelling in spellings.split(", ")
}
_TEMPERATURES = {
    "c": "celsius",
    "celsius": "celsius",
    "centigrade": "celsius",
    "f": "fahrenheit",
    "fahrenheit": "fahrenheit",
    "k": "kelvin",
    "kelvin": "kelvin",
}


@tool(effect="pure")
def convert_units(value: float, from_unit: str, to_unit: str) -> str:
    """Convert a measurement to another unit.

    Args:
        value: The number to convert
        from_unit: Unit of the number
        to_unit: Unit wanted
    """
    source, target = _temperature(from_unit), _temperature(to_unit)
    if source and target:
        converted = _from_kelvin(_to_kelvin(value, source), target)
    else:
        converted = _scaled(value, from_unit, to_unit)
    return f"{_shown(converted)} {to_unit.strip()}"


def _scaled(value: float, from_unit: str, to_unit: str) -> float:
    source_quantity, source_factor = _unit(from_unit)
    target_quantity, target_factor = _unit(to_unit)
    if source_quantity != target_quantity:
        raise ValueError(
            f"{from_unit!r} is a unit of {source_quantity}, {to_unit!r} of {target_quantity}"
        )
    return value * source_factor / target_factor


def _unit(text: str) -> tuple[str, float]:
    name = " ".join(text.lower().strip(" .").split())
    name = re.sub(r"(met|lit)re", r"\1er", name)
    singular = re.sub(r"(?<=[a-z]{2})s\b", "", name)
    for spelling in (name, singular):
        if spelling in _UNITS:
            return _UNITS[spelling]
    if _temperature(text):
        return ("temperature", 1.0)
    raise ValueError(f"unknown unit {text!r}")


def _temperature(text: str) -> str | None:
    name = re.sub(r"°|\bdegrees?\b|\bdeg\b", "", text.lower()).strip(" .")
    return _TEMPERATURES.get(name)


def _to_kelvin(value: float, unit: str) -> float:
    if unit == "celsius":
        kelvin = value + 273.15
    elif unit == "fahrenheit":
        kelvin = (value - 32) * 5 / 9 + 273.15
    else:
        kelvin = value
    if kelvin < -1e-9:
        raise ValueError(f"{value:g} {unit} lies below absolute zero")
    return kelvin


def _from_kelvin(kelvin: float, unit: str) -> float:
    if unit == "celsius":
        return kelvin - 273.15
    if unit == "fahrenheit":
        return (kelvin - 273.15) * 9 / 5 + 32
    return kelvin


def _shown(value: float) -> str:
    """Six significant digits, and whole numbers in full as long as a float holds them."""
    if not math.isfinite(value):
        raise ValueError("the number is too large")
    if 1e6 <= abs(value) < 1e15:
        return f"{value:.0f}"
    rounded = f"{value:.6g}"
    return "0" if rounded == "-0" else rounded
