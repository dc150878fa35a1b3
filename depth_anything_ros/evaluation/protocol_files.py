"""Protocol files: YAML of the package, one file for each protocol.

An unknown key is an error that names the file, the key and the valid keys.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from depth_anything_ros.evaluation.protocol import AVERAGING, Alignment, Protocol, Published, SetRules, Split
from depth_anything_ros.system.did_you_mean import did_you_mean

FOLDER = Path(__file__).parent / "protocols"
_ORDER = ("full", "published")


class ProtocolError(ValueError):
    """A protocol file is invalid, or an option contradicts a protocol."""


def protocol_names() -> tuple[str, ...]:
    """Return the names of the protocols: the two for any set first, then those of papers."""
    names = {path.stem for path in FOLDER.glob("*.yaml")}
    return *_ORDER, *sorted(names - set(_ORDER))


@cache
def find_protocol(name: str) -> Protocol:
    """Return a protocol by its name. Raises `ProtocolError` for an unknown name."""
    if name not in protocol_names():
        names = protocol_names()
        raise ProtocolError(
            f"protocol is {name!r}, must be {', '.join(names[:-1])} or {names[-1]}" + did_you_mean(name, names)
        )
    return read_protocol(FOLDER / f"{name}.yaml")


def read_protocol(path: Path) -> Protocol:
    """Read a protocol file. Raises `ProtocolError`, naming the file and the key, if it is invalid."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ProtocolError(f"{path}: cannot be read: {error}") from error
    keys = ("title", "task", "averaging", "defaults", "other_sets", "sets", "published")
    values = _mapping(path, "the file", values, keys)
    averaging = AVERAGING.get(values.get("task", "depth"), ("images", "sets"))
    hint = "" if "pixels" in averaging else "; never over pixels"
    if tuple(values.get("averaging", averaging)) != averaging:
        raise ProtocolError(f"{path}: averaging is {values['averaging']}, must be {list(averaging)}{hint}")
    defaults = _mapping(path, "defaults", values.get("defaults") or {}, _keys(SetRules))
    listed = values.get("sets") or {}
    if not isinstance(listed, Mapping):
        raise ProtocolError(f"{path}: sets is {listed!r}, must list sets by name")
    sets = {
        name: _built(path, f"sets.{name}", SetRules, _merged(defaults, rules or {})) for name, rules in listed.items()
    }
    others = _built(path, "defaults", SetRules, defaults) if values.get("other_sets") else None
    published = tuple(
        _built(path, f"published[{index}]", Published, item) for index, item in enumerate(values.get("published") or ())
    )
    for item in published:
        if wrong := {name for sets_of in item.models.values() for name in sets_of} - set(sets):
            raise ProtocolError(
                f"{path}: published has numbers for {', '.join(sorted(wrong))}, which it does not score"
            )
    given = {key: values[key] for key in ("title", "task") if key in values}
    return _checked(
        path, "the file", Protocol, {"name": path.stem, "sets": sets, "defaults": others, **given}, published
    )


def _checked(path: Path, place: str, kind: type, values: Mapping[str, Any], published: tuple[Published, ...]) -> Any:
    try:
        return kind(**values, published=published)
    except (TypeError, ValueError) as error:
        raise ProtocolError(f"{path}: {place}: {error}") from error


def _keys(kind: type) -> tuple[str, ...]:
    return tuple(item.name for item in dataclasses.fields(kind))


def _mapping(path: Path, place: str, values: Any, keys: tuple[str, ...]) -> dict[str, Any]:
    """Return a mapping whose keys are all valid. Raises `ProtocolError`."""
    if not isinstance(values, Mapping):
        raise ProtocolError(f"{path}: {place} is {values!r}, must have the keys {', '.join(keys)}")
    for key in values:
        if key not in keys:
            raise ProtocolError(
                f"{path}: {place} has the unknown key {key!r}{did_you_mean(str(key), keys)}; valid keys are "
                f"{', '.join(keys)}"
            )
    return dict(values)


def _merged(defaults: Mapping[str, Any], values: Any) -> Any:
    """Return the values over the defaults; mappings such as ``alignment`` are merged key by key."""
    if not isinstance(values, Mapping):
        return values
    merged = dict(defaults)
    for key, value in values.items():
        is_nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = {**merged[key], **value} if is_nested else value
    return merged


def _built(path: Path, place: str, kind: type, values: Any) -> Any:
    """Return a dataclass of checked values. Raises `ProtocolError`."""
    values = _mapping(path, place, values, _keys(kind))
    hints = typing.get_type_hints(kind)
    built = {key: _value(path, f"{place}.{key}", hints[key], value) for key, value in values.items()}
    try:
        return kind(**built)
    except (TypeError, ValueError) as error:
        raise ProtocolError(f"{path}: {place}: {error}") from error


def _value(path: Path, place: str, hint: Any, value: Any) -> Any:
    """Return a value of the hinted type. Raises `ProtocolError`."""
    if hint in (Alignment, Split):
        return _built(path, place, hint, value)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        for option in arguments:
            if option is not type(None) and _fits(option, value):
                return _value(path, place, option, value)
    elif origin is tuple and isinstance(value, (list, tuple)):
        items = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(items) == len(value):
            return tuple(_value(path, place, item, part) for item, part in zip(items, value, strict=True))
    elif origin is not tuple and isinstance(value, Mapping) and origin is not None:
        return {str(key): _value(path, f"{place}.{key}", arguments[1], part) for key, part in value.items()}
    elif _fits(hint, value):
        return float(value) if hint is float else value
    raise ProtocolError(f"{path}: {place} is {value!r}, which has the wrong type; expected {_in_words(hint)}")


def _fits(hint: Any, value: Any) -> bool:
    if typing.get_origin(hint) is tuple:
        return isinstance(value, (list, tuple))
    kind = (int, float) if hint is float else hint
    return isinstance(value, kind) and (hint is bool or not isinstance(value, bool))


def _in_words(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint).replace("typing.", "")


def check_options(chosen: Protocol, options: Mapping[str, Any]) -> None:
    """Refuse options that change what a protocol fixes.

    Args:
        chosen: the protocol.
        options: values by their names in messages; None for an option that is not given.

    Raises:
        ProtocolError: an option is given and the protocol is not open.
    """
    given = [name for name, value in options.items() if value is not None]
    if given and not chosen.is_open:
        raise ProtocolError(
            f"protocol {chosen.name} fixes its frames, truth and cameras: leave out {' and '.join(given)}, or choose "
            f"--protocol {' or '.join(_ORDER)}"
        )
