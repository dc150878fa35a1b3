"""Each folder of the package imports only lower layers, and only ros/ imports ROS."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "depth_anything_ros"
LAYERS = (
    ("system",),
    ("images", "zoo"),
    ("geometry", "model", "capture"),
    ("visualization",),
    ("postprocessing", "data", "runtime"),
    ("scale",),
    ("processing", "web_view"),
    ("export", "evaluation", "synthetic", "ros", "demo"),
    ("bench", "doctor", "training"),
    ("pseudo_labels", "api"),
    ("commands",),
)
"""From the lowest; those of one layer do not import each other. docs/architecture.md draws them."""
ROS = {
    *("rclpy", "launch", "launch_ros", "builtin_interfaces", "diagnostic_msgs", "lifecycle_msgs"),
    *("rcl_interfaces", "sensor_msgs", "std_msgs", "std_srvs", "cv_bridge", "rpyutils"),
}
"""Not ament_index_python, which only says where a package's files are."""
HEIGHTS = {folder: height for height, folders in enumerate(LAYERS) for folder in folders}
FOLDERS = sorted(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file())


def imported(folder: str) -> Iterator[tuple[Path, str]]:
    """Yield the imports of a folder's files, at any place in them: (file, dotted name)."""
    for path in (PACKAGE / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((path, name.name) for name in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield path, node.module
                yield from ((path, f"{node.module}.{name.name}") for name in node.names)


def test_every_folder_has_a_layer() -> None:
    assert sorted(HEIGHTS) == FOLDERS


@pytest.mark.parametrize("folder", FOLDERS)
def test_folder_imports_only_lower_layers(folder: str) -> None:
    climbing = set()
    for path, name in imported(folder):
        package, _, rest = name.partition(".")
        other = rest.partition(".")[0]
        is_other = package == "depth_anything_ros" and other in HEIGHTS and other != folder
        if is_other and HEIGHTS[other] >= HEIGHTS[folder]:
            climbing.add(f"{path.relative_to(PACKAGE)} imports {other}")
    assert climbing == set()


@pytest.mark.parametrize("folder", [folder for folder in FOLDERS if folder != "ros"])
def test_only_ros_and_node_starters_import_ros(folder: str) -> None:
    """The camera command starts nodes, and the demo is a client of their topics; both import it when they run."""
    importing = {path.relative_to(PACKAGE).as_posix() for path, name in imported(folder) if name.split(".")[0] in ROS}
    allowed = {"demo/client.py", "commands/demo.py", "commands/camera.py", "commands/view.py"}
    assert importing <= allowed
