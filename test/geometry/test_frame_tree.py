"""Transforms of a recording: chains over fixed and moving frames, in the form that TF publishes."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rosbags", reason="builds the messages with rosbags")

from calibration_bags import START, transform_message

from depth_anything_ros.geometry.frame_tree import FrameTree, FrameTreeError, missing_link
from depth_anything_ros.geometry.transform import Transform

TURN = Transform.from_quaternion([0, 0, 0.6, 0.8], [1.0, 2.0, 3.0])
SHIFT = Transform.from_quaternion([0, 0, 0, 1], [0.0, 0.5, 0.0])


def tree_of(*messages: tuple[object, bool]) -> FrameTree:
    tree = FrameTree()
    for message, is_static in messages:
        tree.add(message, is_static)
    return tree


def test_siblings_are_joined_by_their_parent() -> None:
    tree = tree_of(
        (transform_message({("base", "camera"): TURN, ("mast", "lidar"): SHIFT, ("base", "mast"): TURN}), True)
    )
    found = tree.transform("lidar", "camera", 5.0)
    point = np.array([[0.3, -0.2, 4.0]])
    assert found.apply(point) == pytest.approx(TURN.inverse().apply(TURN.apply(SHIFT.apply(point))))
    assert tree.transform("camera", "base", 5.0).apply(point) == pytest.approx(TURN.apply(point))
    assert tree.transform("base", "camera", 5.0).apply(point) == pytest.approx(TURN.inverse().apply(point))


def test_beside_a_gap_a_moving_frame_has_the_transform_nearest_in_time() -> None:
    tree = tree_of(
        (transform_message({("odom", "base"): SHIFT}, time=2.0), False),  # out of order
        (transform_message({("odom", "base"): TURN}, time=1.0), False),
    )
    assert tree.transform("base", "odom", START + 1.4).translation == pytest.approx([1, 2, 3])
    assert tree.transform("base", "odom", START + 1.6).translation == pytest.approx([0, 0.5, 0])
    with pytest.raises(FrameTreeError, match=r"TF has a gap: the nearest transform of base is 1\.0 s away"):
        tree.transform("base", "odom", START + 3.0)


def test_moving_frame_is_interpolated() -> None:
    """A robot that drives a curve at 1 m/s would otherwise be a centimeter off between transforms at 50 Hz."""
    turns = [Transform.from_quaternion([0, 0, np.sin(angle / 2), np.cos(angle / 2)], [angle, 0, 0]) for angle in (0, 1)]
    tree = tree_of(
        (transform_message({("odom", "base"): turns[0]}, time=1.0), False),
        (transform_message({("odom", "base"): turns[1]}, time=1.2), False),
        (transform_message({("odom", "base"): turns[1]}, time=1.2), False),  # a repeated stamp
    )
    found = tree.transform("base", "odom", START + 1.05)
    assert found.angle == pytest.approx(0.25, abs=1e-6)
    assert found.translation == pytest.approx([0.25, 0, 0], abs=1e-6)
    assert tree.transform("base", "odom", START + 1.2).translation == pytest.approx([1, 0, 0], abs=1e-6)
    assert tree.transform("base", "odom", START + 1.3).translation == pytest.approx([1, 0, 0])


def test_frames_without_connection_and_loops_are_errors() -> None:
    loop = transform_message({("a", "b"): TURN, ("b", "a"): TURN})
    tree = tree_of((loop, True))
    with pytest.raises(FrameTreeError, match="lidar to camera; it has the frames a, b: record /tf_static and /tf"):
        tree.transform("lidar", "camera", 0.0)
    with pytest.raises(FrameTreeError):
        tree.transform("a", "camera", 0.0)


def test_names_of_ros_1_have_a_slash_and_a_zero_quaternion_is_skipped() -> None:
    message = transform_message({("/base", "/camera"): TURN, ("base", "broken"): TURN})
    message.transforms[1].transform.rotation.x = message.transforms[1].transform.rotation.y = 0.0
    message.transforms[1].transform.rotation.z = message.transforms[1].transform.rotation.w = 0.0
    tree = tree_of((message, True))
    assert tree.transform("camera", "/base", 0.0).translation == pytest.approx([1, 2, 3])
    with pytest.raises(FrameTreeError):
        tree.transform("broken", "base", 0.0)


def test_quaternion_of_any_rotation_is_read_back() -> None:
    rng = np.random.default_rng(0)
    for quaternion in [*rng.normal(size=(20, 4)), *np.eye(4), [1.0, 1.0, 0.0, 0.0]]:
        transform = Transform.from_quaternion(quaternion, [0, 0, 0])
        assert Transform.from_quaternion(transform.quaternion, [0, 0, 0]).rotation == pytest.approx(transform.rotation)


@pytest.mark.parametrize(
    ("parents", "link"),
    [
        ({}, ("optical", "lidar")),
        ({"optical": "camera"}, ("optical", "lidar")),
        ({"lidar": "base"}, ("lidar", "optical")),
        ({"lidar": "base", "optical": "camera", "camera": "camera_link"}, ("lidar", "camera_link")),
    ],
)
def test_missing_link_gives_no_frame_a_second_parent(parents: dict[str, str], link: tuple[str, str]) -> None:
    """A second parent of the lidar would tear it from the robot."""
    assert missing_link(parents, "optical", "lidar") == link
