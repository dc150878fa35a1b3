"""The use of rclpy in the sources, compared with the API of a release as listed in `../shared/reference/rclpy_api`.

A list has a line for each module's function, class, method and attribute: ``rclpy.MODULE.CLASS.METHOD(self, a, *, b)``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

LINE = re.compile(r"^(?P<path>[\w.]+)(?:\((?P<arguments>.*)\))?$")
NODES = ("Node", "LifecycleNode")
REEXPORTED = {
    "rclpy.clock.ClockType": "rclpy.clock_type.ClockType",
    "rclpy.try_shutdown": "rclpy.utilities.try_shutdown",
}
"""Names that a module imports from another one, where the lists have them; looked up in rclpy's sources."""
PRIVATE = frozenset({"_service_change_state", "_state_machine"})
"""Attributes of LifecycleNode that its releases have under the same name, which no list of public ones names."""


@dataclass(frozen=True)
class Signature:
    """A callable's arguments, without ``self``."""

    positional: tuple[str, ...]
    keyword_only: tuple[str, ...] = ()
    takes_any_positional: bool = False
    takes_any_keyword: bool = False

    @classmethod
    def parse(cls, text: str) -> Signature:
        names = [name.strip() for name in text.split(",") if name.strip()]
        names = names[1:] if names[:1] in (["self"], ["cls"]) else names
        positional: list[str] = []
        keyword_only: list[str] = []
        into, any_positional, any_keyword = positional, False, False
        for name in names:
            if name.startswith("**"):
                any_keyword = True
            elif name.startswith("*"):
                into, any_positional = keyword_only, any_positional or len(name) > 1
            elif name != "/":
                into.append(name)
        return cls(tuple(positional), tuple(keyword_only), any_positional, any_keyword)

    def refuses(self, call: ast.Call) -> str | None:
        """Return the arguments of a call that this callable does not accept."""
        for keyword in call.keywords:
            known = keyword.arg in (*self.positional, *self.keyword_only)
            if keyword.arg is not None and not known and not self.takes_any_keyword:
                return f"argument {keyword.arg}"
        if any(isinstance(argument, ast.Starred) for argument in call.args) or self.takes_any_positional:
            return None
        return f"{len(call.args)} positional arguments" if len(call.args) > len(self.positional) else None


class Release:
    """The public API of one release of rclpy."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.signatures: dict[str, list[Signature | None]] = {}  # by dotted path; None: not callable
        for line in lines:
            if match := LINE.match(line.strip()):
                arguments = match["arguments"]
                signature = None if arguments is None else Signature.parse(arguments)
                self.signatures.setdefault(match["path"], []).append(signature)
        self.elsewhere: set[str] = set()  # members of classes that other releases have and this one has not
        self.fields: dict[str, list[str]] = {}  # by a class's path
        for path in self.signatures:
            owner, _, name = path.rpartition(".")
            self.fields.setdefault(owner, []).append(name)
        self.modules = {path.rpartition(".")[0] for path in self.signatures if path.rpartition(".")[2][:1].islower()}
        self.members: dict[str, list[Signature | None]] = {}  # of all classes, by their own name alone
        for path, found in self.signatures.items():
            owner = path.rpartition(".")[0]
            if owner.rpartition(".")[2][:1].isupper():
                self.members.setdefault(path.rpartition(".")[2], []).extend(found)

        owners = ("Node", "LifecycleNode", "LifecycleNodeMixin")
        self.node_methods = {name for owner in self.fields if owner.endswith(owners) for name in self.fields[owner]}

    def resolve(self, module: str, name: str) -> str | None:
        """Return the path under which this release lists ``from module import name``; None if it does not."""
        direct = f"{module}.{name}"
        if direct in self.signatures:
            return direct
        if direct in self.fields:
            return direct
        within = [path for path in self.signatures if path.startswith(f"{module}.") and path.endswith(f".{name}")]
        if within and module != "rclpy":  # a package, which gives what its modules define
            return within[0]
        moved = REEXPORTED.get(direct)
        return moved if moved in self.signatures else None

    def constructor(self, path: str) -> list[Signature]:
        """Return the signatures of a class's constructor or of a function; none if the list does not have them."""
        found = [one for one in self.signatures.get(path, []) if one is not None]
        found = found or [one for one in self.signatures.get(f"{path}.__init__", []) if one is not None]
        if [one for one in found if one.takes_any_keyword and not one.positional + one.keyword_only]:
            fields = tuple(self.fields.get(path, ()))  # as those of QoSProfile
            return [Signature((), fields)] if len(fields) > 1 else []
        return [] if any(one.takes_any_keyword for one in found) else found


def read(folder: Path, names: Iterable[str]) -> dict[str, Release]:
    """Read the releases of those names; each can look up the names of the others."""
    releases = {name: Release((folder / f"rclpy_{name}.txt").read_text().splitlines()) for name in names}
    everything = set().union(*(release.members for release in releases.values()))
    for release in releases.values():
        release.elsewhere = {name for name in everything - set(release.members) if name[0].islower()}
    return releases


@dataclass
class Class:
    """A class of the sources: its bases, and every attribute that it or its methods define."""

    bases: list[str]
    attributes: set[str] = field(default_factory=set)


def classes_of(trees: Iterable[ast.Module]) -> dict[str, Class]:
    """Every class of the sources, by name."""
    found: dict[str, Class] = {}
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                own = found.setdefault(node.name, Class([]))
                own.bases += [ast.unparse(base).rpartition(".")[2] for base in node.bases]
                own.attributes |= set(_defined(node))
    return found


def _defined(node: ast.ClassDef) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield inner.name
        elif isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
            yield inner.id
        elif isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store):
            yield inner.attr


def lineage(name: str, classes: dict[str, Class]) -> set[str]:
    """The names of a class and of all its bases."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += classes[one].bases if one in classes else []
    return found


def is_node(name: str, classes: dict[str, Class]) -> bool:
    """Return whether a class derives from one of rclpy's nodes."""
    return not lineage(name, classes).isdisjoint(NODES)


def attributes_of(name: str, classes: dict[str, Class]) -> set[str]:
    """Return the attributes that a class and its bases in the sources define."""
    return set().union(*(classes[one].attributes for one in lineage(name, classes) if one in classes))


def faults(tree: ast.Module, file: str, release: Release, classes: dict[str, Class]) -> list[str]:
    """Return the uses of rclpy that the release does not support, each as ``FILE:LINE: text``.

    An import in a ``try`` that handles ImportError is guarded: one of the imports of that statement suffices.
    """
    found = []
    names: dict[str, str] = {}  # of the source, to paths of the release
    nodes = list(ast.walk(tree))
    guarded = {
        inner: statement
        for statement in nodes
        if isinstance(statement, ast.Try) and any(_heeds_import_error(one) for one in statement.handlers)
        for inner in ast.walk(statement)
        if isinstance(inner, ast.ImportFrom)
    }
    satisfied: dict[ast.Try, bool] = {}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "rclpy":
            for alias in node.names:
                path = release.resolve(node.module, alias.name)
                if path is not None:
                    names[alias.asname or alias.name] = path
                if node in guarded:
                    satisfied[guarded[node]] = satisfied.get(guarded[node], False) or path is not None
                elif path is None:
                    found.append(f"{file}:{node.lineno}: {node.module}.{alias.name}")
    for statement, holds in satisfied.items():
        falls_back = [one for one in guarded if guarded[one] is statement and one not in statement.body]
        if falls_back and not holds:  # else a handler does without
            found.append(f"{file}:{statement.lineno}: none of the guarded imports")
    own = set().union(*(one.attributes for one in classes.values())) if classes else set()
    for node in nodes:
        if isinstance(node, ast.Call):
            found += [f"{file}:{node.lineno}: {what}" for what in _call_faults(node, names, release, own)]
        elif isinstance(node, ast.Attribute):
            path = names.get(node.value.id) if isinstance(node.value, ast.Name) else None
            listed = release.fields.get(path or "", ())
            if len(listed) > 1 and node.attr not in listed:
                found.append(f"{file}:{node.lineno}: {path}.{node.attr}")
            dotted = ast.unparse(node) if isinstance(node.value, ast.Name) and node.value.id == "rclpy" else ""
            if dotted and release.resolve("rclpy", node.attr) is None and dotted not in release.modules:
                found.append(f"{file}:{node.lineno}: {dotted}")
        elif isinstance(node, ast.ClassDef) and is_node(node.name, classes):
            known = attributes_of(node.name, classes) | set(release.members) | PRIVATE
            for inner in ast.walk(node):
                if _is_self(inner) and inner.attr not in known and not inner.attr.startswith("__"):
                    found.append(f"{file}:{inner.lineno}: {node.name}.{inner.attr}")
    return found


def _heeds_import_error(handler: ast.ExceptHandler) -> bool:
    return handler.type is not None and "ImportError" in ast.unparse(handler.type)


def _is_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"


def _call_faults(call: ast.Call, names: dict[str, str], release: Release, own: set[str]) -> Iterator[str]:
    if isinstance(call.func, ast.Name) and call.func.id in names:
        signatures, name = release.constructor(names[call.func.id]), names[call.func.id]
    elif isinstance(call.func, ast.Attribute):
        name = call.func.attr
        if isinstance(call.func.value, ast.Name) and call.func.value.id == "rclpy":
            signatures = [one for one in release.signatures.get(f"rclpy.{name}", []) if one is not None]
        elif name in own or name.startswith("_"):  # may be a method of ours
            return
        else:
            signatures = [one for one in release.members.get(name, []) if one is not None]
            if name in release.elsewhere:
                yield f"{name}, which other releases have"
    else:
        return
    complaints = [signature.refuses(call) for signature in signatures]
    if complaints and None not in complaints and _is_rclpys(call, name, release):
        yield f"{name}: {complaints[0]}"


def _is_rclpys(call: ast.Call, name: str, release: Release) -> bool:
    """Return whether a call certainly is rclpy's: of its module, of an imported name, or of a method of its nodes."""
    is_bare = isinstance(call.func, ast.Name)
    return is_bare or name in release.node_methods or getattr(call.func.value, "id", "") == "rclpy"


def parse(paths: Iterable[Path]) -> dict[Path, ast.Module]:
    """Parse the sources."""
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in paths}
