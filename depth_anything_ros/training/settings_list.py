"""The list of all settings of a stage, with explanations, for people."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from typing import get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from depth_anything_ros.training.configuration import StageConfiguration
from depth_anything_ros.training.settings import StrictModel


def settings_list() -> str:
    """Return the settings by section: its docstring, then each setting by its dotted name, with its default."""
    return "\n\n".join(_sections(StageConfiguration, "", {}))


def _sections(section: type[StrictModel], prefix: str, shown: dict[type, str]) -> Iterator[str]:
    """Yield the text of a section and of its inner sections; for one in ``shown``, where it is shown already."""
    lines, inner = [f"# {line}".rstrip() for line in (inspect.getdoc(section) or "").splitlines()], []
    for name, field in section.model_fields.items():
        kind = _section_of(field)
        if kind is None:
            lines.append(f"{prefix}{name}{_default(field)}")
        elif kind in shown:
            lines.append(f"{prefix}{name}: {'null, or ' if field.default is None else ''}as {shown[kind]}")
        else:
            if field.default is None:
                lines.append(f"{prefix}{name}: null, or as below")
            inner.append((name + ("[]" if get_origin(field.annotation) is tuple else ""), kind))
            shown[kind] = prefix + inner[-1][0]
    yield "\n".join(lines)
    for name, kind in inner:
        yield from _sections(kind, f"{prefix}{name}.", shown)


def _section_of(field: FieldInfo) -> type[StrictModel] | None:
    """Return the section that a setting holds: alone, or with None, or in a list; None for a plain setting."""
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, StrictModel):
            return kind
    return None


def _default(field: FieldInfo) -> str:
    """Return the default as YAML."""
    return " (must be given)" if field.is_required() else f": {json.dumps(to_jsonable_python(field.default))}"
