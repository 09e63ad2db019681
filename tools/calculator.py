"""Arithmetic on a text expression. It reads a syntax tree and never runs code."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable
from typing import Any

from smolchat import tool

Number = int | float

_LONGEST_EXPRESSION = 300
_LARGEST = 10**300
_MOST_DIGITS = 400

_OPERATORS: dict[type, Callable[[Any, Any], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


def _rounded(value: Number, digits: int = 0) -> Number:
    # Far outside of the digits there are, Python takes very long for it.
    places = max(-_MOST_DIGITS, min(_MOST_DIGITS, digits))
    return round(value, places) if digits else round(value)


_FUNCTIONS: dict[str, Callable[..., Number]] = {
    "abs": abs,
    "ceil": math.ceil,
    "cos": math.cos,
    "exp": math.exp,
    "floor": math.floor,
    "ln": math.log,
    "log": math.log10,
    "max": max,
    "min": min,
    "round": _rounded,
    "sin": math.sin,
    "sqrt": math.sqrt,
    "tan": math.tan,
}
_CONSTANTS = {"pi": math.pi, "e": math.e}

_NUMBER = r"\d+(?:\.\d+)?"
_REWRITES = [
    (r"[$€£]|\?|=\s*$", ""),
    (r"(?<=\d),(?=\d{3}(?!\d))", ""),
    (r"\s*(?:per ?cent)\b", "%"),
    (rf"(?:the )?square root of ({_NUMBER})", r"sqrt(\1)"),
    (r"\bmultiplied by\b|\btimes\b|(?<=[\d)])\s*x\s*(?=[\d(])|\u00d7", "*"),
    (r"\bdivided by\b|\u00f7", "/"),
    (r"\bto the power of\b|\^", "**"),
    (r"\bsquared\b", "**2"),
    (r"\bcubed\b", "**3"),
    (r"\bplus\b", "+"),
    (r"\bminus\b|\u2212", "-"),
    (rf"^(.+)([+-])\s*({_NUMBER})%$", r"(\1) * (1 \2 \3 / 100)"),
    (r"%\s*of\b", "/100*"),
    (r"%(?=\s*(?:$|[-+*/)]))", "/100"),
]
"""Everyday notation to Python's, in this order; "80 - 25%" takes a quarter off 80."""


@tool(effect="pure")
def calculate(expression: str) -> str:
    """Work out arithmetic.

    Args:
        expression: The arithmetic, as 12 * 9 or 15% of 80
    """
    if len(expression) > _LONGEST_EXPRESSION:
        raise ValueError(f"the expression is longer than {_LONGEST_EXPRESSION} characters")
    notation = _python_notation(expression)
    try:
        tree = ast.parse(notation, mode="eval")
    except SyntaxError as error:
        raise ValueError(f"{expression!r} is not an arithmetic expression") from error
    return _shown(_value(tree.body))


def _python_notation(expression: str) -> str:
    text = expression.strip().lower()
    for pattern, replacement in _REWRITES:
        text = re.sub(pattern, replacement, text).strip()
    return text


def _value(node: ast.expr) -> Number:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return _bounded(node.value)
    if isinstance(node, ast.Name) and node.id in _CONSTANTS:
        return _CONSTANTS[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _value(node.operand)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp):
        return _operation(node)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        return _call(node.func.id, [_value(argument) for argument in node.args])
    raise ValueError(f"{ast.unparse(node)!r} is not arithmetic")


def _operation(node: ast.BinOp) -> Number:
    left, right = _value(node.left), _value(node.right)
    try:
        if isinstance(node.op, ast.Pow):
            return _bounded(_power(left, right))
        if type(node.op) in _OPERATORS:
            return _bounded(_OPERATORS[type(node.op)](left, right))
    except ZeroDivisionError as error:
        raise ValueError("division by zero") from error
    except OverflowError as error:
        raise ValueError("the number is too large") from error
    raise ValueError(f"{ast.unparse(node)!r} is not arithmetic")


def _power(base: Number, exponent: Number) -> Number:
    if base and abs(exponent) * abs(math.log2(abs(base))) > math.log2(_LARGEST):
        raise ValueError("the power is too large")
    result = base**exponent
    if isinstance(result, complex):
        raise ValueError("the result is not a real number")
    return result


def _call(name: str, arguments: list[Number]) -> Number:
    if name not in _FUNCTIONS:
        raise ValueError(f"unknown function {name!r}; known are {', '.join(_FUNCTIONS)}")
    try:
        return _bounded(_FUNCTIONS[name](*arguments))
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name} does not accept these numbers: {error}") from error


def _bounded(value: Number) -> Number:
    if math.isnan(value) or abs(value) > _LARGEST:
        raise ValueError("the number is too large")
    return value


def _shown(value: Number) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    return str(value) if isinstance(value, int) else f"{value:.10g}"
