"""Every TensorRT name in the source exists in the versions that the source uses it with.

Only one version can be installed, and none of the older ones here. Their names are in dumps of their real bindings.
The source names its TensorRT objects as in `CLASSES`.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from typing import NamedTuple

import pytest

VERSIONS = ("8.6.1", "10.3.0", "10.16.1.11", "11.4.0.106")
BEFORE_10, FROM_10 = VERSIONS[:1], VERSIONS[1:]

RUNS_WITH = {
    "_batch_flags": BEFORE_10,
    "_set_precision": BEFORE_10,
    "_typed_flags": FROM_10,
    "_monitor": FROM_10,
}
"""The versions that a function, with all in it, runs with, where it is not all of them."""

CLASSES = {
    "builder": "Builder",
    "network": "INetworkDefinition",
    "config": "IBuilderConfig",
    "parser": "OnnxParser",
    "profile": "IOptimizationProfile",
    "layer": "ILayer",
    "tensor": "ITensor",
    "timing": "ITimingCache",
    "plan": "IHostMemory",
    "parser_error": "ParserError",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "runtime": "Runtime",
    "inspector": "EngineInspector",
}
"""What the variables of these names are."""

IMPLEMENTED = "()"


class Use(NamedTuple):
    """A TensorRT name in the source.

    It belongs to the module if ``member`` is None. `IMPLEMENTED` means all methods of an interface, for a derived class
    with ``methods``.
    """

    owner: str
    member: str | None
    line: int
    functions: tuple[str, ...]
    methods: frozenset[str] = frozenset()

    @property
    def versions(self) -> list[str]:
        """The versions that the surrounding code runs with."""
        return [
            version
            for version in VERSIONS
            if all(version in RUNS_WITH.get(function, VERSIONS) for function in self.functions)
        ]


def uses(tree: ast.AST, functions: tuple[str, ...] = ()) -> Iterator[Use]:
    for node in ast.iter_child_nodes(tree):
        within = (*functions, node.name) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else functions
        if isinstance(node, ast.Attribute):
            yield from _of_attribute(node, within)
        elif isinstance(node, ast.Call):
            yield from _of_string(node, within)
        elif isinstance(node, ast.ClassDef):
            yield from (Use(base.attr, IMPLEMENTED, node.lineno, within, _methods(node)) for base in _interfaces(node))
        yield from uses(node, within)


def _of_attribute(node: ast.Attribute, functions: tuple[str, ...]) -> Iterator[Use]:
    if isinstance(node.value, ast.Name):
        if node.value.id == "trt":
            yield Use(node.attr, None, node.lineno, functions)
        elif node.value.id in CLASSES:
            yield Use(CLASSES[node.value.id], node.attr, node.lineno, functions)
    elif _is_of_module(node.value):
        yield Use(node.value.attr, node.attr, node.lineno, functions)


def _of_string(node: ast.Call, functions: tuple[str, ...]) -> Iterator[Use]:
    """A use through `getattr(config, "name")` and similar; a name in `hasattr` must exist in some version too."""
    if not (isinstance(node.func, ast.Name) and node.func.id in ("getattr", "setattr", "hasattr")):
        return
    owner, name = node.args[0], node.args[1]
    attribute = ast.Attribute(owner, name.value if isinstance(name, ast.Constant) else "?", lineno=node.lineno)
    yield from _of_attribute(attribute, functions)


def _interfaces(node: ast.ClassDef) -> list[ast.Attribute]:
    return [base for base in node.bases if _is_of_module(base)]


def _methods(node: ast.ClassDef) -> frozenset[str]:
    return frozenset(method.name for method in node.body if isinstance(method, ast.FunctionDef))


def _is_of_module(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "trt"


def missing(source: str, api: dict[str, dict[str, list[str]]]) -> list[str]:
    """Return the names that the dumps of their versions lack, and the interface methods that are not implemented."""
    faults = []
    for use in uses(ast.parse(source)):
        for version in use.versions:
            members = api[version].get(use.owner)
            if members is None and not use.owner.startswith("__"):
                faults.append(f"line {use.line}: {use.owner} is not in TensorRT {version}")
            elif use.member == IMPLEMENTED:
                methods = {name for name in members if name[0].islower()}  # those with capitals are constants
                faults += [
                    f"line {use.line}: {use.owner}.{name} of TensorRT {version} is not implemented"
                    for name in sorted(methods - use.methods)
                ]
            elif use.member is not None and not use.member.startswith("__") and use.member not in members:
                faults.append(f"line {use.line}: {use.owner}.{use.member} is not in TensorRT {version}")
    return faults


@pytest.fixture(scope="module")
def api(shared) -> dict[str, dict[str, list[str]]]:
    """The members by version and class."""
    folder = shared / "reference" / "tensorrt_api"
    return {version: json.loads((folder / f"api_{version}.json").read_text()) for version in VERSIONS}


def test_every_tensorrt_name_exists_in_its_versions(api, repository):
    paths = sorted((repository / "depth_anything_ros" / "runtime").rglob("*tensorrt*.py"))
    assert paths
    faults = {path.name: missing(path.read_text(), api) for path in paths}
    assert not any(faults.values()), faults


def test_version_specific_functions_exist(repository):
    sources = "\n".join(path.read_text() for path in (repository / "depth_anything_ros").rglob("*tensorrt*.py"))
    for function in RUNS_WITH:
        assert f"def {function}(" in sources


class TestTheCheckItself:
    @pytest.mark.parametrize(
        ("source", "fault"),
        [
            ("config.max_workspace_size = 1", "IBuilderConfig.max_workspace_size is not in TensorRT 10.3.0"),
            ("flag = trt.BuilderFlag.FP16", "BuilderFlag.FP16 is not in TensorRT 11.4.0.106"),
            ("x = trt.IProgressMonitor", "IProgressMonitor is not in TensorRT 8.6.1"),
            ("engine.num_bindings", "ICudaEngine.num_bindings is not in TensorRT 10.3.0"),
            ("getattr(layer, 'precision')", "ILayer.precision is not in TensorRT 11.4.0.106"),
            ("hasattr(trt.BuilderFlag, 'STRONG')", "BuilderFlag.STRONG is not in TensorRT 8.6.1"),
            ("class M(trt.ILogger):\n    def logs(self): ...", "ILogger.log of TensorRT 8.6.1 is not implemented"),
            (
                "def _batch_flags():\n    def f():\n        network.flags",
                "INetworkDefinition.flags is not in TensorRT 8.6.1",
            ),
        ],
    )
    def test_check_reports_missing_name(self, api, source, fault):
        assert any(fault in found for found in missing(source, api))

    @pytest.mark.parametrize(
        "source",
        [
            "config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 1)",
            "def _set_precision(config):\n    config.set_flag(trt.BuilderFlag.FP16)",
            "def _monitor(config):\n    trt.IProgressMonitor",
            "class M(trt.ILogger):\n    def log(self): trt.ILogger.__init__(self)\n    def more(self): ...",
            "trt.__version__",
        ],
    )
    def test_check_accepts_existing_names(self, api, source):
        assert missing(source, api) == []
