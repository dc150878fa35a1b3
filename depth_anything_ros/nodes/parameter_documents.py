"""Writes config/depth_node.yaml and docs/parameters.md from the declarations, for `make documents`."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import Any

from depth_anything_ros.nodes.parameters import DECLARATIONS, PER_CAMERA, Acts, Declaration

YAML, TABLE = Path("config/depth_node.yaml"), Path("docs/parameters.md")
WIDTH = 118
_WHEN = {Acts.LIVE: "live", Acts.CONFIGURE: "configure", Acts.START: "start"}


def parameter_file() -> str:
    """The YAML file that holds every parameter with its default and says what it means."""
    lines = [
        "# Every parameter of depth_node with its default; made from the declarations by `make documents`.",
        "# live: acts at the next frame; configure: when it is configured, or at ~/reload_model; start: read-only.",
        "",
        "/**/depth_node:",
        "  ros__parameters:",
    ]
    group = ""
    for declaration in DECLARATIONS:
        head, _, tail = declaration.name.rpartition(".")
        if head != group:
            group = head
            if head:
                lines.append(f"    {head}:")
        indent = "      " if head else "    "
        note = f"{declaration.description} ({', '.join([_WHEN[declaration.acts], *_bounds(declaration)])})"
        lines += [f"{indent}# {line}" for line in textwrap.wrap(note, WIDTH - len(indent) - 2)]
        lines.append(f"{indent}{tail}: {_yaml(declaration.default)}")
    return "\n".join(lines) + "\n"


def parameter_table() -> str:
    """The table of the documentation, in Markdown."""
    lines = [
        "# Parameters of depth_node",
        "",
        "Made from the declarations in `nodes/parameters.py` by `make documents`; `ros2 param describe` says it too.",
        "*live* parameters act at the next frame; *configure* ones when it is configured, or at `~/reload_model`;",
        "*start* ones are read-only. What may not be set is refused with the reason; what is misspelt at start is",
        "named in the log. Numbers with a decimal point here need one everywhere: `max_depth` may be 10.0, not 10.",
        "Two that are held against each other, as `min_depth` and `max_depth` are, need an order in which each may be.",
        f"Each named camera has {', '.join(f'`{name}`' for name in PER_CAMERA)} of its own too,",
        f"as `NAME.{PER_CAMERA[0]}`; their defaults are the node's values at start.",
        "",
        "| Parameter | Default | Acts | Range or choices | What |",
        "|---|---|---|---|---|",
    ]
    for declaration in DECLARATIONS:
        bounds = "; ".join(_bounds(declaration))
        cells = (f"`{declaration.name}`", f"`{_yaml(declaration.default)}`", _WHEN[declaration.acts], bounds)
        lines.append(f"| {' | '.join(cells)} | {declaration.description} |")
    return "\n".join(lines) + "\n"


def _bounds(declaration: Declaration) -> list[str]:
    """The range or the choices in words, if there are any."""
    if declaration.choices:
        return [f"one of {', '.join(declaration.choices)}"]
    if declaration.limits:
        return [f"{declaration.limits[0]:g} to {declaration.limits[1]:g}"]
    return []


def _yaml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value or '""'
    if isinstance(value, list):
        return f"[{', '.join(_yaml(item) for item in value)}]"
    if isinstance(value, float) and math.isnan(value):
        return ".nan"
    return str(value)


if __name__ == "__main__":
    YAML.write_text(parameter_file())
    TABLE.write_text(parameter_table())
