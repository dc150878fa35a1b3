"""Rigid transforms: composition, inverse, quaternions, and parts of a motion."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depth_anything_ros.geometry.transform import Transform

numbers = st.floats(-1, 1)
transforms = st.builds(
    lambda q, t: Transform.from_quaternion(q, t),
    st.tuples(numbers, numbers, numbers, st.floats(0.1, 1)),
    st.tuples(numbers, numbers, numbers),
)
POINTS = np.random.default_rng(0).uniform(-3, 3, (20, 3))


@given(transforms, transforms)
def test_product_applies_both_and_inverse_undoes(first: Transform, second: Transform) -> None:
    assert np.allclose((second @ first).apply(POINTS), second.apply(first.apply(POINTS)))
    assert np.allclose(first.inverse().apply(first.apply(POINTS)), POINTS)
    assert np.allclose(first.rotation @ first.rotation.T, np.eye(3))


@given(transforms)
def test_fraction_of_a_motion_begins_with_none_and_ends_with_all(motion: Transform) -> None:
    rotations, translations = motion.fraction(np.array([0.0, 0.5, 1.0]))
    assert np.allclose(rotations[0], np.eye(3))
    assert np.allclose(rotations[2], motion.rotation, atol=1e-6)
    assert np.allclose(rotations[1] @ rotations[1], motion.rotation, atol=1e-6)
    assert np.allclose(translations[1], motion.translation / 2)


def test_quaternion_turns_as_in_ros() -> None:
    quarter = Transform.from_quaternion([0, 0, np.sqrt(0.5), np.sqrt(0.5)], [0, 0, 1])
    assert np.allclose(quarter.apply(np.array([1.0, 0, 0])), [0, 1, 1])
    assert quarter.angle == pytest.approx(np.pi / 2)


def test_matrix_and_zero_quaternion() -> None:
    matrix = np.eye(4)
    matrix[:3, 3] = 1, 2, 3
    assert np.allclose(Transform.from_matrix(matrix).apply(np.zeros(3)), [1, 2, 3])
    with pytest.raises(ValueError, match="no rotation"):
        Transform.from_quaternion([0, 0, 0, 0], [0, 0, 0])


@pytest.mark.parametrize("quaternion", [[0, 0, 0, 1], [0.1, -0.2, 0.3, 0.9], [1e-9, 0, 0, 1]])
def test_part_of_a_motion_moves_points_as_its_matrix_does(quaternion: list[float]) -> None:
    motion = Transform.from_quaternion(quaternion, [1.0, -2.0, 0.5])
    points, share = np.random.default_rng(0).standard_normal((20, 3)), np.linspace(-0.5, 1.5, 20)
    rotations, translations = motion.fraction(share)
    expected = np.einsum("nij,nj->ni", rotations, points) + translations
    assert motion.apply_fraction(share, points) == pytest.approx(expected, abs=1e-12)
    assert motion.apply_fraction(np.ones(20), points) == pytest.approx(motion.apply(points), abs=1e-8)
