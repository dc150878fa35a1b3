"""Which nodes a ROS parameter file speaks to. ROS ignores a section that names no node without a word.

A section's key is the node's full name, or a pattern of it: ``*`` stands for one name between slashes, ``**`` for any
number of them, none included (rclcpp's and rclpy's rule since Humble). Namespaces may be nested instead of written with
slashes. No ROS is needed here.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

PARAMETERS = "ros__parameters"
NEAR = 0.8
"""How alike two names must be, by `difflib`, for one to be taken for the other, misspelt."""
_TOKEN = re.compile(r"\*\*?|[A-Za-z_][A-Za-z0-9_]*")


class ParameterFileError(ValueError):
    """A parameter file that ROS would refuse, or that no node would read; names the file and the fix."""


def section_keys(path: str | Path) -> list[str]:
    """The keys of a file's sections, each beginning with a slash, in the file's order.

    Raises `ParameterFileError` for a file that is no parameter file, `OSError` for one that cannot be read.
    """
    return list(dict.fromkeys(key for key, _ in _read(path)))


def texts(path: str | Path, node: str, parameter: str) -> list[str]:
    """The list of texts that a file gives a node, by its full name, for a parameter; empty if it gives none.

    Raises as `section_keys` does.
    """
    found: list[str] = []
    for key, section in _read(path):
        for name, value in section.value if matches(key, node) else ():
            if name.value == parameter and isinstance(value, yaml.SequenceNode):
                found = [item.value for item in value.value]
    return found


def _read(path: str | Path) -> list[tuple[str, yaml.MappingNode]]:
    """The sections of a file: their keys and what is in them."""
    try:
        documents = list(yaml.compose_all(Path(path).read_bytes(), Loader=yaml.SafeLoader))
        return [section for document in documents for section in _document_sections(document, path)]
    except yaml.YAMLError as error:
        raise ParameterFileError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise ParameterFileError(f"{path} is nested too deeply, or an alias (*name) holds itself") from error


def _document_sections(document: yaml.Node, path: str | Path) -> Iterator[tuple[str, yaml.MappingNode]]:
    if isinstance(document, yaml.MappingNode):
        yield from _sections(document, "", path)
    elif document.tag != "tag:yaml.org,2002:null":  # that is a document which is empty
        raise ParameterFileError(
            f"{path} holds no sections: it must begin with a node's name, as in /**/depth_node:, {PARAMETERS} under "
            "it, and the parameters under that"
        )


def _sections(mapping: yaml.MappingNode, prefix: str, path: str | Path) -> Iterator[tuple[str, yaml.MappingNode]]:
    """The sections below ``prefix``; whatever is not below a ``ros__parameters`` is refused, as ROS refuses it."""
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
            raise ParameterFileError(f"{path}, line {line}: {_outside(prefix, text)}")


def _outside(prefix: str, text: str) -> str:
    """What to say of a value that is not below a ``ros__parameters``."""
    if text == PARAMETERS:
        return f"{PARAMETERS} has no parameters under it; indent them below it"
    last = prefix.rpartition("/")[2]
    if difflib.get_close_matches(last, [PARAMETERS, "parameters", "ros_params"], n=1, cutoff=NEAR):
        return f"{last} must be {PARAMETERS}, with two underscores"
    node = prefix or f"/{text.removeprefix('/')}"
    return f"{text} is not under {PARAMETERS}; write {node}:, {PARAMETERS}: under it, and the parameters under that"


def _checked(key: str, path: str | Path, line: int) -> str:
    for token in key[1:].split("/"):
        if not _TOKEN.fullmatch(token):
            raise ParameterFileError(
                f"{path}, line {line}: {key} is no node's name: {token!r} must be of a-z, A-Z, 0-9 and _ and not begin "
                "with a digit, or * for any name, or ** for any number of names"
            )
    return key


def matches(key: str, node: str) -> bool:
    """Whether a node, by its full name such as ``/camera/depth_node``, reads the section of that key."""
    patterns = {"*": r"/\w+", "**": r"(?:/\w+)*"}
    tokens = [token for token in key.split("/") if token]
    return (
        re.fullmatch("".join(patterns.get(token, f"/{re.escape(token)}") for token in tokens), node, re.A) is not None
    )


def is_read(keys: Sequence[str], node: str) -> bool:
    """Whether a node reads any of the sections."""
    return any(matches(key, node) for key in keys)


def unread(keys: Sequence[str], nodes: Sequence[str]) -> str:
    """What is wrong with the keys of a file that is given to these nodes, in words with the fix; empty if nothing is.

    That is a section that no node reads though it is named like one that has none of its own, and a file of which no
    node reads anything. Sections for other nodes are left alone where some are read: a robot may keep all in one file.
    """
    addressed = {node for node in nodes for key in keys if _last(key) not in ("*", "**") and matches(key, node)}
    for key in keys:
        if any(matches(key, node) for node in nodes):
            continue
        for node in nodes:
            if node not in addressed and _is_near(_last(key), _last(node)):
                return f"section {key} is not for the node {node} and is ignored; write {_suggestion(node)}"
    if keys and not any(is_read(keys, node) for node in nodes):
        requested = " or ".join(_suggestion(node) for node in nodes)
        return f"it has {', '.join(keys)}, nothing for {' or '.join(nodes)}, and is ignored; write {requested}"
    return ""


def check_command_line(arguments: Sequence[str]) -> None:
    """Raises `ParameterFileError` or `OSError` for a ``--params-file`` that ROS would refuse in words of its own."""
    for option, value in _options(arguments, is_ros=True):
        if option == "--params-file":
            section_keys(value)


def unread_on_command_line(arguments: Sequence[str], nodes: Sequence[str]) -> list[str]:
    """What none of a process's nodes, by their full names, reads of its ``--params-file`` and ``-p NODE:NAME:=VALUE``.

    ``arguments`` is a command line that `check_command_line` has passed. Each entry says the fix. Options of either
    kind that are not after ``--ros-args`` are told too.
    """
    troubles = [
        f"{option} {value}: it is not after --ros-args and is ignored; write --ros-args {option} {value}"
        for option, value in _options(arguments, is_ros=False)
    ]
    for option, value in _options(arguments, is_ros=True):
        if option == "--params-file":
            if trouble := unread(section_keys(value), nodes):
                troubles.append(f"{option} {value}: {trouble}")
        else:
            node, separator, _ = value.partition(":=")[0].rpartition(":")
            if separator and not any(matches(node, name) for name in nodes):
                troubles.append(
                    f"{option} {value}: it is for the node /{node.lstrip('/')}, not for {' or '.join(nodes)}, and is "
                    f"ignored; leave {node}: out, or write it into a file"
                )
    return troubles


def _options(arguments: Sequence[str], is_ros: bool) -> Iterator[tuple[str, str]]:
    """The options of parameters in a command line, and their values: those for ROS, or those that are not."""
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
