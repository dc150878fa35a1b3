"""The depth node's parameters for `bag`, from a parameter file and from options, with the node's checks."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from depth_anything_ros.commands import CommandError
from depth_anything_ros.processing.parameter_declarations import BY_NAME, DECLARATIONS, Declaration
from depth_anything_ros.ros.parameter_files import values as values_in_file
from depth_anything_ros.system.did_you_mean import did_you_mean

NODE = "/depth_node"
_LIVE_ONLY = ("autostart", "cameras", "image_transport", "max_rate", "max_age", "priority", "overload_share")
"""Parameters of a running node, without effect on a recording."""
_OF_ROS = ("use_sim_time", "qos_overrides.", "start_type_description_service")


def parse_parameter(text: str) -> tuple[str, Any]:
    """Parse "NAME:=VALUE" or "NAME=VALUE", as after `ros2 run ... -p`; the value is YAML."""
    name, separator, value = text.partition(":=" if ":=" in text else "=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME:=VALUE, such as max_depth:=20.0")
    try:
        return name, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: the value is not valid YAML") from error


def parameter_values(file: Path | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value of each of the node's parameters. Options override the file, which overrides the defaults.

    Args:
        file: ROS parameter file, or None.
        given: Values from options, by name.

    Raises:
        CommandError: A value is invalid, or a given name is unknown.
        ParameterFileError: The file is invalid.
    """
    values = {declaration.name: declaration.default for declaration in DECLARATIONS}
    for name, value in (values_in_file(file, NODE) if file is not None else {}).items():
        if name in BY_NAME:
            values[name] = _checked(BY_NAME[name], value, f"{file}: ")
        elif not name.startswith(_OF_ROS):
            print(f"{file}: the depth node has no parameter {name}{did_you_mean(name, BY_NAME)}", file=sys.stderr)
    for name, value in given.items():
        if name not in BY_NAME:
            raise CommandError(f"--param: the depth node has no parameter {name}{did_you_mean(name, BY_NAME)}")
        values[name] = _checked(BY_NAME[name], value, "")
    changed = [name for name in _LIVE_ONLY if values[name] != BY_NAME[name].default]
    if changed:
        print(f"without effect on a recording: {', '.join(changed)}", file=sys.stderr)
    return values


def _checked(declaration: Declaration, value: Any, where: str) -> Any:
    """Return a value of the parameter's type. Raises `CommandError`."""
    default, name = declaration.default, declaration.name
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if isinstance(default, list) and not isinstance(value, list):
        value = [value]
    is_choice = bool(declaration.choices) and isinstance(value, (bool, str))
    if type(value) is not type(default) and not is_choice:
        raise CommandError(f"{where}{name} is {value!r}, must be like {default!r}")
    try:
        declaration.check(value)
    except ValueError as error:
        raise CommandError(f"{where}{error}") from error
    if declaration.limits is not None and not math.isnan(value):
        low, high = declaration.limits
        if not low <= value <= high:
            raise CommandError(f"{where}{name} is {value}, must be from {low} to {high}")
    return value
