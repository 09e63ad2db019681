"""Settings and where they come from.

Command line over `SMOLCHAT_*` over profile over configuration file over default.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, ValidationError
from pydantic_core import PydanticCustomError

from smolchat.errors import UsageError, did_you_mean
from smolchat.generation import Sampling
from smolchat.paths import config_dir
from smolchat.profiles import Profile, SamplingFields, load_profile, read_yaml

PREFIX = "SMOLCHAT_"

OTHER_VARIABLES = {"SMOLCHAT_CODE_DIR", "SMOLCHAT_FILES_ROOT", "SMOLCHAT_PREFILL"}
"""What tools and the engine read; not settings."""


def _known_device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?|mps|all", name):
        raise PydanticCustomError("device", "input should be auto, cpu, cuda, cuda:N, mps or all")
    return name


class SettingFields(SamplingFields):
    """Every setting, as the command line, the environment and config.yaml may give it."""

    model: str | None = Field(default=None, min_length=1)
    profile: str | None = Field(default=None, min_length=1)
    system: str | None = None
    max_new_tokens: int | None = Field(default=None, ge=1)
    device: Annotated[str, AfterValidator(_known_device)] | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] | None = None
    threads: int | None = Field(default=None, ge=1)
    quantize: Literal["auto", "none", "int8", "int4"] | None = None
    draft: str | None = Field(default=None, min_length=1)
    approve: Literal["none", "pure", "read", "all"] | None = None
    on_overflow: Literal["refuse", "trim", "summarize"] | None = None
    no_history: bool | None = None
    no_stream: bool | None = None
    raw: bool | None = None
    keys: Literal["emacs", "vi"] | None = None
    verbose: bool | None = None
    quiet: bool | None = None


DEFAULTS: dict[str, Any] = {
    "model": None,
    "profile": "chat",
    "system": None,
    "max_new_tokens": 1024,
    "temperature": 0.2,
    "top_p": 0.9,
    "top_k": 0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "seed": None,
    "device": "auto",
    "dtype": "auto",
    "threads": None,
    "quantize": "auto",
    "draft": None,
    "approve": "pure",
    "on_overflow": None,
    "no_history": False,
    "no_stream": False,
    "raw": False,
    "keys": "emacs",
    "verbose": False,
    "quiet": False,
}


@dataclass(frozen=True, slots=True)
class Setting:
    value: Any
    source: str
    """Where the value was given, in words for the user."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for one command."""

    profile: Profile
    table: dict[str, Setting]

    def __getitem__(self, name: str) -> Any:
        return self.table[name].value

    def sampling(self) -> Sampling:
        return Sampling(**{name: self[name] for name in SamplingFields.model_fields})

    def reworded(self, phrases: Mapping[str, str]) -> Settings:
        """The same with phrases of the prompts said in other words.

        Raises UsageError when the prompts contain none of them.
        """
        system, template = self["system"] or "", self.profile.user_template
        if not any(phrase in system or phrase in template for phrase in phrases):
            raise UsageError(
                f"the prompts of profile {self.profile.name} are not in the shipped words",
                "The option changes the shipped wording only: edit the prompt itself instead.",
            )
        for phrase, other in phrases.items():
            system, template = system.replace(phrase, other), template.replace(phrase, other)
        profile = self.profile.model_copy(update={"user_template": template})
        said = Setting(system or None, self.table["system"].source)
        return Settings(profile, {**self.table, "system": said})

    def with_option(self, name: str, text: str) -> Settings:
        """The same with one setting changed. Raises UsageError for a wrong name or value."""
        value = _validated({name: text}, "{name}")[name]
        return Settings(self.profile, {**self.table, name: Setting(value, "set in this chat")})


def values_of(name: str) -> tuple[str, ...]:
    """The values that a setting may have, if there are but a few."""
    accepted = get_args(SettingFields.model_fields[name].annotation)
    if bool in accepted:
        return ("true", "false")
    return tuple(value for each in accepted for value in get_args(each) if isinstance(value, str))


def config_path() -> Path:
    return config_dir() / "config.yaml"


def resolve(
    options: Mapping[str, Any],
    profile: str | None = None,
    environment: Mapping[str, str] = os.environ,
    continued: Mapping[str, Any] | None = None,
) -> Settings:
    """Merges all sources. `options` is what the command line says, `profile` what it implies.

    `continued` is what the conversation says that is gone on with, after the command line.

    Raises UsageError or ProfileError for the first value that makes no sense.
    """
    said = _validated(options, "--{option}")
    variables = _validated(_from_environment(environment), PREFIX + "{NAME}")
    config, before = _from_config(), dict(continued or {})
    name = _profile_name([said, before, {"profile": profile}, variables, config])
    chosen = load_profile(name)
    layers = [
        ("command line", said),
        ("the conversation", before),
        ("environment", variables),
        (f"profile {name}", chosen.settings()),
        (f"{config_path()}", config),
    ]
    table = {key: Setting(value, "default") for key, value in DEFAULTS.items()}
    for source, layer in reversed(layers):
        table |= {key: Setting(value, source) for key, value in layer.items()}
    if table["profile"].value != name:
        table["profile"] = Setting(name, "the command")
    return Settings(chosen, table)


def unknown_variables(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Variables that look like settings and are none."""
    known = {PREFIX + name.upper() for name in SettingFields.model_fields} | OTHER_VARIABLES
    return [name for name in sorted(environment) if name.startswith(PREFIX) and name not in known]


def parse_assignment(text: str) -> tuple[str, str]:
    """`key=value` of `-o`. Raises UsageError."""
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"-o {text}: not of the form key=value", "For example: -o top_k=40")
    return key.strip().replace("-", "_"), value.strip()


def _profile_name(layers: list[dict[str, Any]]) -> str:
    return next((layer["profile"] for layer in layers if layer.get("profile")), "chat")


def _from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    named = {name: PREFIX + name.upper() for name in SettingFields.model_fields}
    return {name: environment[key] for name, key in named.items() if environment.get(key)}


def _from_config() -> dict[str, Any]:
    if not config_path().is_file():
        return {}
    return read_yaml(config_path(), SettingFields).model_dump(exclude_none=True)


def _validated(values: Mapping[str, Any], label: str) -> dict[str, Any]:
    """Checks given values; `label` says how the user wrote a setting's name."""
    try:
        return SettingFields.model_validate(values).model_dump(exclude_none=True)
    except ValidationError as error:
        mistake = error.errors()[0]
    name = str(mistake["loc"][0])
    if mistake["type"] == "extra_forbidden":
        raise UsageError(
            f"there is no setting {name!r}{did_you_mean(name, DEFAULTS)}",
            f"Settings are: {', '.join(DEFAULTS)}.",
        )
    written = label.format(name=name, option=name.replace("_", "-"), NAME=name.upper())
    said = str(mistake["msg"])
    raise UsageError(
        f"{written} {mistake['input']}: {said[0].lower()}{said[1:]}",
        "See smolchat run --help, or smolchat doctor for what is set where.",
    )
