"""Names of distortion models, and coefficients that are too many or too few."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depth_anything_ros.geometry.distortion import DISTORTION_COEFFICIENTS, distortion_of
from depth_anything_ros.geometry.rectification import MODELS, Rectifier

K = np.array([[75.0, 0.0, 39.5], [0.0, 75.0, 29.5], [0.0, 0.0, 1.0]])
EQUIDISTANT = (
    "equidistant",
    "fisheye",
    "Fisheye",
    "kannala_brandt",
    "Kannala Brandt4",
    "kannala-brandt",
    "equi",
    "KB4",
)
COEFFICIENTS = st.floats(-0.2, 0.2).filter(lambda value: abs(value) > 1e-9)


@pytest.mark.parametrize("name", EQUIDISTANT)
def test_fisheye_names_give_equidistant(name):
    assert distortion_of(name, [0.1, 0.2, 0.3, 0.4]) == ("equidistant", (0.1, 0.2, 0.3, 0.4))
    assert distortion_of(name, [0.0] * 5)[0] == "equidistant"  # no pinhole, even with coefficients of zero


@pytest.mark.parametrize("name", ["plumb_bob", "radtan", "Plumb Bob", "radial-tangential", "Brown Conrady", "pinhole"])
def test_brown_model_names_give_plumb_bob(name):
    assert distortion_of(name, [0.1, 0.2, 0.3, 0.4]) == ("plumb_bob", (0.1, 0.2, 0.3, 0.4))


@pytest.mark.parametrize("name", ["omni", "mei", "fov", "fisheye62", "Inverse Brown Conrady", "ds", "eucm", "fisheye9"])
def test_unknown_distortion_model_raises_with_name(name):
    with pytest.raises(ValueError, match=f"{name!r}, must be one of: plumb_bob"):
        distortion_of(name, [0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize(
    ("count", "model"), [(5, "plumb_bob"), (8, "rational_polynomial"), (12, "rational_polynomial"), (0, "plumb_bob")]
)
def test_unnamed_model_is_inferred_from_coefficient_count(count, model):
    assert distortion_of("", [0.1] * count) == (model, (0.1,) * count)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_ambiguous_unnamed_coefficients_raise(count):
    with pytest.raises(ValueError, match="equidistant for a fisheye lens, else to plumb_bob"):
        distortion_of("", [0.1] * count)
    assert distortion_of("", [0.0] * count) == ("plumb_bob", ())


def test_model_none_has_no_coefficients():
    assert distortion_of("none", []) == ("plumb_bob", ())
    with pytest.raises(ValueError, match="'none', but the coefficients are not zero"):
        distortion_of("none", [0.1, 0.0, 0.0, 0.0, 0.0])


@given(st.sampled_from(sorted(DISTORTION_COEFFICIENTS)), st.lists(COEFFICIENTS, max_size=14), st.integers(0, 12))
def test_trailing_zero_coefficients_are_ignored(model, values, zeros):
    """Whatever their number, the coefficients that are not zero stay, or are refused if the model has fewer."""
    counts = DISTORTION_COEFFICIENTS[model]
    given_values = [*values, *[0.0] * zeros]
    if len(values) > max(counts):
        with pytest.raises(ValueError, match=f"{model} has .*; coefficient {len(values)} is"):
            distortion_of(model, given_values)
        return
    named, coefficients = distortion_of(model, given_values)
    assert named == model
    assert len(coefficients) in counts or not given_values
    assert list(coefficients[: len(values)]) == values
    assert not any(coefficients[len(values) :])


@pytest.mark.parametrize(
    ("name", "model"), [("radtan", "plumb_bob"), ("rational", "rational_polynomial"), ("KB4", "equidistant")]
)
@settings(max_examples=15, deadline=None)
@given(values=st.lists(COEFFICIENTS, min_size=1, max_size=4), zeros=st.integers(0, 10))
def test_model_synonyms_rectify_equally(name, model, values, zeros):
    full = [*values, *[0.0] * (DISTORTION_COEFFICIENTS[model][0] - len(values))]
    some = Rectifier(name, K, np.array([*values, *[0.0] * zeros]), np.eye(3), K, (60, 80))
    other = Rectifier(model, K, np.array(full), np.eye(3), K, (60, 80))
    image = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 256, (60, 80, 3), np.uint8), (0, 0), 3)
    outs = [np.empty_like(image), np.empty_like(image)]
    some.apply(image, outs[0])
    other.apply(image, outs[1])
    np.testing.assert_array_equal(*outs)


def test_every_rectifiable_model_has_a_coefficient_count():
    assert set(MODELS) < set(DISTORTION_COEFFICIENTS)
