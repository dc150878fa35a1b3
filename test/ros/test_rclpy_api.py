"""Every name and argument of rclpy in use exists in Humble, Jazzy and Rolling, or its import is guarded."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from rclpy_usage import Class, Release, classes_of, faults, parse, read

RELEASES = ("humble", "jazzy", "rolling")


@pytest.fixture(scope="module")
def releases(shared: Path) -> dict[str, Release]:
    folder = shared / "reference" / "rclpy_api"
    if not folder.is_dir():
        pytest.skip("no folder `shared/reference/rclpy_api` beside the checkout")
    return read(folder, RELEASES)


@pytest.fixture(scope="module")
def sources(repository: Path) -> tuple[dict[Path, ast.Module], dict[str, Class]]:
    """The parsed sources, and all their classes."""
    folders = ("depth_anything_ros", "launch", "scripts", "benchmarks")
    trees = parse(path for folder in folders for path in sorted((repository / folder).rglob("*.py")))
    return trees, classes_of(trees.values())


@pytest.mark.parametrize("name", RELEASES)
def test_sources_use_only_names_of_every_release(
    releases: dict[str, Release], sources: tuple[dict[Path, ast.Module], dict[str, Class]], repository: Path, name: str
) -> None:
    trees, classes = sources
    found = [
        fault
        for path, tree in trees.items()
        for fault in faults(tree, str(path.relative_to(repository)), releases[name], classes)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("from rclpy.qos import NoSuchPolicy", "rclpy.qos.NoSuchPolicy"),
        ("from rclpy.event_handler import PublisherEventCallbacks", "rclpy.event_handler"),
        ("from rclpy.qos import ReliabilityPolicy\nReliabilityPolicy.BEST_AVAILABLE", "BEST_AVAILABLE"),
        ("from rclpy.qos import QoSProfile\nQoSProfile(depth=1, deepness=2)", "argument deepness"),
        ("from rclpy.clock import JumpThreshold\nJumpThreshold(min_forward=1, forwards=2)", "argument forwards"),
        ("import rclpy\nrclpy.init(dommain_id=3)", "argument dommain_id"),
        ("import rclpy\nrclpy.no_such_function()", "rclpy.no_such_function"),
        (
            "node.create_subscription(Image, 'a', print, 1, content_filter_options=None)",
            "argument content_filter_options",
        ),
        ("node.create_timer(1.0, print, None, None, 3, 4, 5)", "7 positional arguments"),
        ("node.wait_for_node('a', 1.0)", "wait_for_node"),
        ("subscription.get_publisher_count()", "get_publisher_count"),
        (
            "from rclpy.node import Node\nclass Own(Node):\n    def go(self):\n        self.no_such_method()",
            "Own.no_such_method",
        ),
        (
            "from rclpy.node import Node\nclass Own(Node):\n    def go(self):\n        self._of_rclpy",
            "Own._of_rclpy",
        ),
        ("try:\n    from rclpy.no import a\nexcept ImportError:\n    from rclpy.none import a", "none of the guarded"),
    ],
)
def test_missing_name_is_reported(releases: dict[str, Release], source: str, named: str) -> None:
    tree = ast.parse(source)
    (fault,) = faults(tree, "made_up.py", releases["humble"], classes_of([tree]))
    assert named in fault


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    from rclpy.event_handler import PublisherEventCallbacks\n"
        "except ImportError:\n    from rclpy.qos_event import PublisherEventCallbacks",
        "try:\n    from rclpy.event_handler import PublisherEventCallbacks\n"
        "except ImportError:\n    PublisherEventCallbacks = None",
        "from rclpy.node import Node\nclass Own(Node):\n    def __init__(self):\n        super().__init__('a')\n"
        "        self.own = 1\n        self.create_publisher(Image, 'a', 5, qos_overriding_options=self.own)",
        "from rclpy.lifecycle import LifecycleNode, LifecycleState",
    ],
)
def test_guarded_import_is_accepted(releases: dict[str, Release], source: str) -> None:
    tree = ast.parse(source)
    assert [faults(tree, "made_up.py", release, classes_of([tree])) for release in releases.values()] == [[], [], []]
