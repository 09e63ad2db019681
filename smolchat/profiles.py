"""Profiles, and the strict YAML reading that they share with the configuration file.

A mistake is reported with file, line, key and the nearest valid key.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from smolchat.errors import ProfileError, did_you_mean
from smolchat.paths import config_dir, shipped

Location = tuple[str, ...]


class SamplingFields(BaseModel):
    """What a profile or a configuration file may say about sampling; None says nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: float | None = Field(default=None, ge=0, le=100, allow_inf_nan=False)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=0)
    min_p: float | None = Field(default=None, ge=0, le=1)
    repetition_penalty: float | None = Field(default=None, gt=0, le=100, allow_inf_nan=False)
    seed: int | None = Field(default=None, ge=0)


def _with_place_for_text(template: str) -> str:
    if "{text}" not in template:
        raise PydanticCustomError("template", "input should contain {text}")
    return template


class Profile(BaseModel):
    """A named way to use a checkpoint."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    description: str = ""
    model: str | None = Field(default=None, min_length=1)
    draft_model: str | None = Field(default=None, min_length=1)
    """The smaller checkpoint that guesses ahead."""
    system_prompt: str | None = None
    user_template: Annotated[str, AfterValidator(_with_place_for_text)] = "{text}"
    """The user's text takes the place of `{text}`; nothing else is special."""
    sampling: SamplingFields = SamplingFields()
    max_new_tokens: int | None = Field(default=None, ge=1)
    tools: list[str] = []
    approve: Literal["none", "pure", "read", "all"] | None = None
    quantize: Literal["auto", "none", "int8", "int4"] | None = None

    def user_text(self, text: str) -> str:
        """What is sent for `text`."""
        return self.user_template.replace("{text}", text)

    def settings(self) -> dict[str, Any]:
        """The settings that this profile decides."""
        decided = {
            "model": self.model,
            "system": self.system_prompt,
            "max_new_tokens": self.max_new_tokens,
            "approve": self.approve,
            "quantize": self.quantize,
            "draft": self.draft_model,
            **self.sampling.model_dump(),
        }
        return {name: value for name, value in decided.items() if value is not None}


def profile_paths() -> dict[str, Path]:
    """Every profile by name, in alphabetic order; the user's own win over the shipped ones."""
    folders = (shipped("profiles"), config_dir() / "profiles")
    found = {path.stem: path for folder in folders for path in folder.glob("*.y*ml")}
    return dict(sorted(found.items()))


def load_profile(name: str) -> Profile:
    """Raises ProfileError when there is no such profile or its file is wrong."""
    paths = profile_paths()
    if name not in paths:
        raise ProfileError(
            f"there is no profile {name!r}{did_you_mean(name, paths)}",
            f"Profiles are: {', '.join(paths)}. See smolchat profiles list.",
        )
    profile = read_yaml(paths[name], Profile)
    if profile.name != name:
        raise ProfileError(
            f"{paths[name]}: the name is {profile.name!r} and the file is called {name}.yaml",
            "Give both the same name.",
        )
    return profile


ModelT = TypeVar("ModelT", bound=BaseModel)


def read_yaml(path: Path, model: type[ModelT]) -> ModelT:
    """Reads and validates a YAML file. Raises ProfileError for the first mistake in it."""
    text = _read_text(path)
    try:
        lines = _key_lines(yaml.compose(text, yaml.SafeLoader), path)
        values = yaml.load(text, _Loader) or {}
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ProfileError(f"{path}, line {line}: {error.problem}", "Mend the YAML.") from error
    except (yaml.YAMLError, RecursionError) as error:
        reason = str(error).partition("\n")[0]
        raise ProfileError(f"{path} is not valid YAML: {reason}", "Mend the YAML.") from error
    if not isinstance(values, dict):
        raise ProfileError(f"{path}, line 1: not a list of `key: value`", "See README.md.")
    try:
        return model.model_validate(values, strict=True)
    except ValidationError as error:
        raise _first_mistake(error, path, lines, model) from None


class _Loader(yaml.SafeLoader):
    """Names the line of a scalar such as 2020-13-45, which SafeLoader lets fail without one."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError):
            kind = node.tag.rpartition(":")[2]
            raise yaml.MarkedYAMLError(
                problem=f"{node.value!r} is no {kind}", problem_mark=node.start_mark
            ) from None


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ProfileError(f"cannot read {path}: {error.strerror}", "Check the file.") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ProfileError(f"{path}, line {line}: not UTF-8", "Save it as UTF-8 text.") from error


def _key_lines(root: yaml.Node | None, path: Path) -> dict[Location, int]:
    """The line of every key, by its path from the root. Raises ProfileError for a repeated key."""
    lines: dict[Location, int] = {(): 1}

    def enter(node: yaml.Node, location: Location) -> None:
        line = node.start_mark.line + 1
        if location in lines:
            raise ProfileError(
                f"{path}, line {line}: {location[-1]!r} stands here a second time "
                f"(first in line {lines[location]})",
                "Remove one of the two.",
            )
        lines[location] = line

    def walk(node: yaml.Node | None, location: Location) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                here = (*location, str(key.value))
                enter(key, here)
                walk(value, here)
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                here = (*location, str(index))
                enter(item, here)
                walk(item, here)

    walk(root, ())
    return lines


def _first_mistake(
    error: ValidationError, path: Path, lines: dict[Location, int], model: type[BaseModel]
) -> ProfileError:
    # A misspelt key comes before the key that is missing because of it.
    mistake = min(error.errors(), key=lambda mistake: mistake["type"] != "extra_forbidden")
    location = tuple(str(part) for part in mistake["loc"])
    key = ".".join(location)
    known = location
    while known not in lines:
        known = known[:-1]
    where = f"{path}, line {lines[known]}"
    if mistake["type"] == "extra_forbidden":
        valid = _valid_keys(model, location[:-1])
        return ProfileError(
            f"{where}: there is no key {key!r}{did_you_mean(location[-1], valid)}",
            f"Valid keys are: {', '.join(valid)}.",
        )
    return ProfileError(f"{where}: {key}: {_sentence(mistake)}", "Correct the value.")


def _sentence(mistake: Any) -> str:
    if mistake["type"] == "missing":
        return "the key is missing"
    if mistake["type"] == "model_type":
        return f"input should be a list of `key: value`, not {mistake['input']!r}"
    said = str(mistake["msg"])
    return f"{said[0].lower()}{said[1:]}, not {mistake['input']!r}"


def _valid_keys(model: type[BaseModel], location: Location) -> list[str]:
    for part in location:
        inner = model.model_fields[part].annotation
        assert isinstance(inner, type)
        assert issubclass(inner, BaseModel)
        model = inner
    return list(model.model_fields)
