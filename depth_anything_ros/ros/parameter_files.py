"""Which nodes read a section of a ROS parameter file. ROS silently ignores a section that matches no node.

The key of a section is a node's full name or a pattern: ``*`` matches one name between slashes, ``**`` any number of
names, including none (the rule of rclcpp and rclpy since Humble). Namespaces may be nested mappings instead of paths.
This module does not import ROS.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

PARAMETERS = "ros__parameters"
NEAR = 0.8
"""Similarity (`difflib`) from which a name counts as a misspelling of another."""
_TOKEN = re.compile(r"\*\*?|[A-Za-z_][A-Za-z0-9_]*")


class ParameterFileError(ValueError):
    """A parameter file that ROS would reject or no node would read. The message names the file and the fix."""


def section_keys(path: str | Path) -> list[str]:
    """Return the keys of a file's sections, each with a leading slash, in the order of the file.

    Raises `ParameterFileError` for an invalid parameter file, `OSError` for one that cannot be read.
    """
    return list(dict.fromkeys(key for key, _ in _read(path)))


def texts(path: str | Path, node: str, parameter: str) -> list[str]:
    """Return a parameter that is a list of strings; empty if the file does not set it.

    Args:
        path: the parameter file.
        node: the node's full name.
        parameter: the parameter's name.

    Raises:
        ParameterFileError: the file is not a valid parameter file.
        OSError: the file cannot be read.
    """
    found: list[str] = []
    for key, section in _read(path):
        for name, value in section.value if matches(key, node) else ():
            if name.value == parameter and isinstance(value, yaml.SequenceNode):
                found = [item.value for item in value.value]
    return found


def values(path: str | Path, node: str) -> dict[str, Any]:
    """Return the parameters that a file sets for a node, by name with dots between groups; later sections win.

    Args:
        path: the parameter file.
        node: the node's full name. A section whose key ends with the node's own name counts too, in any namespace.

    Raises:
        ParameterFileError: the file is not a valid parameter file.
        OSError: the file cannot be read.
    """
    found: dict[str, Any] = {}
    for key, section in _read(path):
        if matches(key, node) or _last(key) == _last(node):
            found |= dict(_flattened(yaml.SafeLoader("").construct_document(section), ""))
    return found


def _flattened(group: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in group.items():
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _read(path: str | Path) -> list[tuple[str, yaml.MappingNode]]:
    """Return the key and content of each section of a file."""
    try:
        documents = list(yaml.compose_all(Path(path).read_bytes(), Loader=yaml.SafeLoader))
        return [section for document in documents for section in _document_sections(document, path)]
    except yaml.YAMLError as error:
        raise ParameterFileError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise ParameterFileError(f"{path} is nested too deeply, or an alias (*name) contains itself") from error


def _document_sections(document: yaml.Node, path: str | Path) -> Iterator[tuple[str, yaml.MappingNode]]:
    if isinstance(document, yaml.MappingNode):
        yield from _sections(document, "", path)
    elif document.tag != "tag:yaml.org,2002:null":  # an empty document
        raise ParameterFileError(
            f"{path} has no sections: begin with a node's name, such as /**/depth_node:, put {PARAMETERS}: under it "
            "and the parameters under that"
        )


def _sections(mapping: yaml.MappingNode, prefix: str, path: str | Path) -> Iterator[tuple[str, yaml.MappingNode]]:
    """Yield the sections below ``prefix``. Like ROS, raise for a value that is not below ``ros__parameters``."""
    for name, value in mapping.value:
        if not isinstance(name, yaml.ScalarNode):
            raise ParameterFileError(f"{path}, line {name.start_mark.line + 1}: a key must be a name")
        line, text = name.start_mark.line + 1, name.value
        is_mapping = isinstance(value, yaml.MappingNode)
        if text == PARAMETERS and is_mapping:
            if not prefix:
                raise ParameterFileError(f"{path}, line {line}: {PARAMETERS} must be under a node's name")
            yield _checked(prefix, path, line), value
        elif is_mapping and text != PARAMETERS:
            yield from _sections(value, f"{prefix}/{text}" if prefix else f"/{text.removeprefix('/')}", path)
        else:
            raise ParameterFileError(f"{path}, line {line}: {_misplaced(prefix, text)}")


def _misplaced(prefix: str, text: str) -> str:
    """Return the message for a value that is not below ``ros__parameters``."""
    if text == PARAMETERS:
        return f"{PARAMETERS} has no parameters under it; indent them"
    last = prefix.rpartition("/")[2]
    if difflib.get_close_matches(last, [PARAMETERS, "parameters", "ros_params"], n=1, cutoff=NEAR):
        return f"{last} must be {PARAMETERS}, with two underscores"
    node = prefix or f"/{text.removeprefix('/')}"
    return f"{text} is not under {PARAMETERS}; write {node}:, under it {PARAMETERS}:, and under that the parameters"


def _checked(key: str, path: str | Path, line: int) -> str:
    for token in key[1:].split("/"):
        if not _TOKEN.fullmatch(token):
            raise ParameterFileError(
                f"{path}, line {line}: {key} is not a valid node name: {token!r} must consist of a-z, A-Z, 0-9 and _ "
                "without a leading digit, or be * for any name, or ** for any number of names"
            )
    return key


def matches(key: str, node: str) -> bool:
    """Return whether a node reads the section with this key.

    Args:
        key: key of the section, a name or a pattern.
        node: the node's full name, such as ``/camera/depth_node``.
    """
    patterns = {"*": r"/\w+", "**": r"(?:/\w+)*"}
    tokens = [token for token in key.split("/") if token]
    return (
        re.fullmatch("".join(patterns.get(token, f"/{re.escape(token)}") for token in tokens), node, re.A) is not None
    )


def is_read(keys: Sequence[str], node: str) -> bool:
    """Return whether the node reads any of the sections."""
    return any(matches(key, node) for key in keys)


def unread(keys: Sequence[str], nodes: Sequence[str]) -> str:
    """Return what is wrong with the keys of a parameter file, with the fix; empty if nothing is.

    Two cases are problems. No node reads a section, although its name is like that of a node without a section. Or no
    node reads any section of the file. Sections for other nodes are no problem if one section is read: a robot may keep
    the parameters of all nodes in one file.

    Args:
        keys: the keys of the file's sections.
        nodes: full names of the nodes that get the file.
    """
    addressed = {node for node in nodes for key in keys if _last(key) not in ("*", "**") and matches(key, node)}
    for key in keys:
        if any(matches(key, node) for node in nodes):
            continue
        for node in nodes:
            if node not in addressed and _is_near(_last(key), _last(node)):
                return f"section {key} does not match the node {node} and is ignored; write {_suggestion(node)}"
    if keys and not any(is_read(keys, node) for node in nodes):
        requested = " or ".join(_suggestion(node) for node in nodes)
        return f"it has {', '.join(keys)} but no section for {' or '.join(nodes)}, and is ignored; write {requested}"
    return ""


def check_command_line(arguments: Sequence[str]) -> None:
    """Check each ``--params-file`` of a command line, with clearer messages than those of ROS.

    Raises `ParameterFileError` or `OSError`.
    """
    for option, value in _options(arguments, is_ros=True):
        if option == "--params-file":
            section_keys(value)


def unread_on_command_line(arguments: Sequence[str], nodes: Sequence[str]) -> list[str]:
    """Return the parameter options that no node of the process reads, one message with the fix for each.

    The options are ``--params-file`` and ``-p NODE:NAME:=VALUE``. Those that do not follow ``--ros-args`` are included.

    Args:
        arguments: a command line that has passed `check_command_line`.
        nodes: full names of the nodes of the process.
    """
    problems = [
        f"{option} {value}: it does not follow --ros-args and is ignored; write --ros-args {option} {value}"
        for option, value in _options(arguments, is_ros=False)
    ]
    for option, value in _options(arguments, is_ros=True):
        if option == "--params-file":
            if problem := unread(section_keys(value), nodes):
                problems.append(f"{option} {value}: {problem}")
        else:
            node, separator, _ = value.partition(":=")[0].rpartition(":")
            if separator and not any(matches(node, name) for name in nodes):
                problems.append(
                    f"{option} {value}: it is for the node /{node.lstrip('/')}, not for {' or '.join(nodes)}, and is "
                    f"ignored; omit {node}:, or put it in a file"
                )
    return problems


def _options(arguments: Sequence[str], is_ros: bool) -> Iterator[tuple[str, str]]:
    """Yield the parameter options of a command line and their values, either those after --ros-args or the rest."""
    is_after = False
    for word, value in itertools.pairwise(arguments):
        is_after = word == "--ros-args" or (is_after and word != "--")
        if is_after == is_ros and word in ("--params-file", "-p", "--param"):
            yield word, value


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _is_near(key: str, name: str) -> bool:
    return difflib.SequenceMatcher(None, key.lower(), name.lower()).ratio() >= NEAR


def _suggestion(node: str) -> str:
    return f"/**/{_last(node)}: or {node}:"
