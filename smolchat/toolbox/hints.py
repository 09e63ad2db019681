"""Type hints as JSON schema: what a model is shown of the types that a function takes."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, time
from enum import Enum
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from smolchat.toolbox.tool import Schema

_SCALARS: dict[Any, str] = {
    int: "integer",
    float: "number",
    str: "string",
    bool: "boolean",
    type(None): "null",
}
_BARE: dict[Any, Schema] = {
    **{kind: {"type": name} for kind, name in _SCALARS.items()},
    list: {"type": "array"},
    tuple: {"type": "array"},
    dict: {"type": "object"},
    Any: {},
}
TEXTS: dict[Any, tuple[Schema, Callable[[str], Any]]] = {
    datetime: (
        {"type": "string", "format": "date-time"},
        # Python reads a final Z from 3.11 on.
        lambda text: datetime.fromisoformat(text.upper().replace("Z", "+00:00")),
    ),
    date: ({"type": "string", "format": "date"}, date.fromisoformat),
    time: ({"type": "string", "format": "time"}, time.fromisoformat),
    Path: ({"type": "string"}, Path),
    PurePath: ({"type": "string"}, PurePath),
}
LISTS: dict[Any, Callable[[Iterable[Any]], Any]] = {
    list: list,
    set: set,
    frozenset: frozenset,
    Sequence: list,
    Iterable: list,
    Collection: list,
}
MAPPINGS = (dict, Mapping)
_BOUNDS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
    "pattern": "pattern",
}
_MISSING: Any = object()


class UnknownHint(TypeError):
    """A type that no JSON value can stand for. The text says which, and what to write instead."""


def plain_schema(hint: Any) -> Schema | None:
    """What `transformers.utils.get_json_schema` makes of a hint, or None where it gives up."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is None:
        return _plain_enum(hint) if is_class(hint, Enum) else _copy(_bare(hint))
    if origin in (Union, types.UnionType):
        return _plain_union(args)
    if origin is Literal:
        return _enum_schema(args) if all(type(arg) in _SCALARS for arg in args) else None
    if origin in (list, tuple, dict):
        return _plain_container(origin, args)
    return None


def _plain_container(origin: type, args: tuple[Any, ...]) -> Schema | None:
    if not args:
        return dict(_BARE[origin])
    if origin is tuple and (len(args) == 1 or ... in args):
        return None
    parts = [plain_schema(arg) for arg in args]
    if origin is dict:
        return None if parts[1] is None else {"type": "object", "additionalProperties": parts[1]}
    if None in parts:
        return None
    return {"type": "array", **({"items": parts[0]} if origin is list else {"prefixItems": parts})}


def _bare(hint: Any) -> Schema | None:
    try:
        return _BARE.get(hint)
    except TypeError:  # not hashable, so no type
        return None


def _copy(schema: Schema | None) -> Schema | None:
    return None if schema is None else dict(schema)


def is_class(hint: Any, parent: type) -> bool:
    return isinstance(hint, type) and issubclass(hint, parent)


def _plain_enum(hint: Any) -> Schema | None:
    values = [member.value for member in hint]
    known = values and all(type(value) in _SCALARS for value in values)
    return _enum_schema(values) if known else None


def _enum_schema(values: Iterable[Any]) -> Schema:
    listed = list(values)
    names = list(dict.fromkeys(_SCALARS[type(value)] for value in listed))
    return {"type": names[0] if len(names) == 1 else names, "enum": listed}


def _plain_union(args: tuple[Any, ...]) -> Schema | None:
    parts = []
    for arg in args:
        part = plain_schema(arg)
        if part is None:
            return None
        if arg is not type(None):
            parts.append(part)
    return _union_schema(args, parts)


def _union_schema(args: tuple[Any, ...], parts: list[Schema]) -> Schema:
    if len(parts) == 1:
        schema = parts[0]
    elif all(part.keys() == {"type"} and isinstance(part["type"], str) for part in parts):
        names = sorted({part["type"] for part in parts})
        schema = {"type": names[0] if len(names) == 1 else names}
    else:
        schema = {"anyOf": parts}
    if type(None) in args:
        schema["nullable"] = True
    return schema


def schema_of(hint: Any, within: tuple[Any, ...] = ()) -> Schema:
    """The schema of any hint that JSON can express; `within` are the classes being described.

    Raises UnknownHint.
    """
    hint, rules = unwrapped(hint)
    schema = plain_schema(hint)
    if schema is None:
        schema = _further_schema(hint, within)
    return schema | bounds_schema(schema, rules)


def _further_schema(hint: Any, within: tuple[Any, ...]) -> Schema:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        parts = [schema_of(arg, within) for arg in args if arg is not type(None)]
        return _union_schema(args, parts)
    if origin is Literal:
        return _enum_schema(literal_value(arg) for arg in args)
    if is_class(hint, Enum):
        return _enum_schema(members(hint))
    if hint in TEXTS:
        return dict(TEXTS[hint][0])
    if (origin or hint) in LISTS or (origin is tuple and ... in args):
        items = [schema_of(arg, within) for arg in args if arg is not ...]
        return {"type": "array", **({"items": items[0]} if items else {})}
    if origin is tuple:
        return {"type": "array", "prefixItems": [schema_of(arg, within) for arg in args]}
    if (origin or hint) in MAPPINGS:
        return {"type": "object", **_values_schema(args, within)}
    return _object_schema(hint, within)


def _values_schema(args: tuple[Any, ...], within: tuple[Any, ...]) -> Schema:
    return {"additionalProperties": schema_of(args[1], within)} if len(args) == 2 else {}


def literal_value(value: Any) -> Any:
    value = value.value if isinstance(value, Enum) else value
    if type(value) not in _SCALARS:
        raise UnknownHint(f"Literal[{value!r}] cannot be written in JSON; use text or numbers")
    return value


def members(hint: type[Enum]) -> dict[Any, Enum]:
    """What the model writes for each member: its value, or its name if JSON has no such value."""
    if not list(hint):
        raise UnknownHint(f"the Enum {hint.__name__} has no members; give it some")
    plain = all(type(member.value) in _SCALARS for member in hint)
    return {member.value if plain else member.name: member for member in hint}


@dataclasses.dataclass(frozen=True, slots=True)
class _Field:
    name: str
    hint: Any
    default: Any = _MISSING
    is_required: bool = True


def _object_schema(hint: Any, within: tuple[Any, ...]) -> Schema:
    if hint in within:
        raise UnknownHint(f"{hint.__name__} contains itself; use a list or a dict instead")
    if is_pydantic(hint):
        schema: Schema = _inlined(hint.model_json_schema(), {})
        return schema
    fields = fields_of(hint)
    if fields is None:
        raise UnknownHint(
            f"the type {_name(hint)} cannot be written in JSON; use int, float, str, bool, list, "
            "dict, Literal, an Enum, a dataclass, a TypedDict, a pydantic model, date, datetime, "
            "time or Path"
        )
    properties = {field.name: _field_schema(field, (*within, hint)) for field in fields}
    required = [field.name for field in fields if field.is_required]
    return {
        "type": "object",
        "properties": properties,
        **({"required": required} if required else {}),
        "additionalProperties": False,
    }


def _field_schema(field: _Field, within: tuple[Any, ...]) -> Schema:
    return described(schema_of(field.hint, within), description_of(field.hint), field.default)


def described(schema: Schema, text: str | None, default: Any = _MISSING) -> Schema:
    """`schema` with a description that also tells the default."""
    shown = "" if default is _MISSING or default is None else _default_text(default)
    description = " ".join(part for part in (text, shown) if part)
    return schema | ({"description": description} if description else {})


def _default_text(default: Any) -> str:
    try:
        text = json.dumps(default, ensure_ascii=False, default=json_of)
    except (TypeError, ValueError):
        return ""
    value = json.loads(text)
    return f"(default: {value if isinstance(value, str) else text})"


def fields_of(hint: Any) -> list[_Field] | None:
    """The fields of a dataclass, a TypedDict or a NamedTuple; None for any other type."""
    if not isinstance(hint, type):
        return None
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint, include_extras=True)
        return [_dataclass_field(field, hints) for field in dataclasses.fields(hint) if field.init]
    if hasattr(hint, "__required_keys__"):
        hints = typing.get_type_hints(hint, include_extras=True)
        return [
            _Field(name, each, is_required=_is_required(hint, name, each))
            for name, each in hints.items()
        ]
    if issubclass(hint, tuple) and hasattr(hint, "_field_defaults"):
        hints = typing.get_type_hints(hint, include_extras=True)
        defaults = hint._field_defaults
        return [
            _Field(name, each, defaults.get(name, _MISSING), name not in defaults)
            for name, each in hints.items()
        ]
    return None


def _is_required(hint: Any, name: str, each: Any) -> bool:
    # A class whose annotations are text does not know its own Required and NotRequired.
    mark = getattr(get_origin(each), "_name", None)
    return mark == "Required" or (mark != "NotRequired" and name in hint.__required_keys__)


def _dataclass_field(field: dataclasses.Field[Any], hints: dict[str, Any]) -> _Field:
    has_default = field.default is not dataclasses.MISSING
    is_required = not has_default and field.default_factory is dataclasses.MISSING
    default = field.default if has_default else _MISSING
    return _Field(field.name, hints[field.name], default, is_required)


def is_pydantic(hint: Any) -> bool:
    # By its method, so that pydantic is loaded only by those who use it.
    return isinstance(hint, type) and hasattr(hint, "model_json_schema")


def _inlined(schema: Any, definitions: Mapping[str, Any], within: tuple[str, ...] = ()) -> Any:
    """A pydantic schema without references and titles, which only cost a prompt tokens."""
    if isinstance(schema, list):
        return [_inlined(part, definitions, within) for part in schema]
    if not isinstance(schema, dict):
        return schema
    definitions = {**definitions, **schema.get("$defs", {})}
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if name in within:
            raise UnknownHint(f"{name} contains itself; use a list or a dict instead")
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        return _inlined({**definitions[name], **rest}, definitions, (*within, name))
    kept = {key: value for key, value in schema.items() if key not in ("$defs", "title", "default")}
    if schema.get("default") is not None:
        kept = described(kept, kept.get("description"), schema["default"])
    if "properties" in kept:
        kept["properties"] = {
            name: _inlined(part, definitions, within) for name, part in kept["properties"].items()
        }
    others = [key for key in kept if key != "properties"]
    return kept | {key: _inlined(kept[key], definitions, within) for key in others}


def _name(hint: Any) -> str:
    return getattr(hint, "__name__", None) or str(hint)


def unwrapped(hint: Any) -> tuple[Any, list[Any]]:
    """A hint without `Annotated`, `NewType` and aliases, and the rules that `Annotated` added."""
    rules: list[Any] = []
    while True:
        if get_origin(hint) is Annotated:
            hint, *more = get_args(hint)
            rules += more
        elif getattr(get_origin(hint), "_name", None) in ("Required", "NotRequired"):
            (hint,) = get_args(hint)
        elif hasattr(hint, "__supertype__"):
            hint = hint.__supertype__
        elif type(hint).__name__ == "TypeAliasType":
            hint = hint.__value__
        else:
            return hint, rules


def description_of(hint: Any) -> str | None:
    """The text in `Annotated[..., "text"]` or `Annotated[..., Field(description="text")]`."""
    for rule in unwrapped(hint)[1]:
        text = rule if isinstance(rule, str) else getattr(rule, "description", None)
        if isinstance(text, str):
            return text
    return None


def bounds_schema(schema: Schema, rules: Iterable[Any]) -> Schema:
    """`Field(ge=1)` and the like, as pydantic and annotated_types leave them, in JSON's words."""
    found: Schema = {}
    size = "Items" if schema.get("type") == "array" else "Length"
    names = {**_BOUNDS, "min_length": f"min{size}", "max_length": f"max{size}"}
    for rule in _flattened(rules):
        bounds = {key: getattr(rule, name, None) for name, key in names.items()}
        found |= {
            key: bound for key, bound in bounds.items() if isinstance(bound, (int, float, str))
        }
    return found


def _flattened(rules: Iterable[Any]) -> Iterable[Any]:
    for rule in rules:
        inner = getattr(rule, "metadata", None)
        yield rule
        if isinstance(inner, (list, tuple)):
            yield from _flattened(inner)


def json_of(value: Any) -> Any:
    """What JSON writes for a value that it does not know. Raises TypeError where nothing does."""
    if isinstance(value, Enum):
        written = (name for name, each in members(type(value)).items() if each is value)
        return next(written, value.value)  # of flags together there is no member
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if is_pydantic(type(value)):
        return value.model_dump(mode="json")
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"JSON has nothing for {_name(type(value))}")
