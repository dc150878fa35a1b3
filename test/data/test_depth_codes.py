"""Depth in 16 bits: its accuracy, and that unknown depth and sky stay what they are."""

from __future__ import annotations

import json
import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from depth_anything_ros.data.depth_codes import (
    SKY,
    UNKNOWN,
    CodeRange,
    decode_inverse_depth,
    encode_depth,
    encode_inverse_depth,
    from_png,
    to_png,
)

STEPS = 65533
"""From the first code to the last."""
FLOAT32 = 2.0**-23

SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 6))
DISTANCES = st.floats(np.float32(1e-3), np.float32(1e5), width=32)
NO_DISTANCES = st.sampled_from([np.nan, 0.0, -1.0, -np.inf])


def maps(of: st.SearchStrategy[float]) -> st.SearchStrategy[np.ndarray]:
    return arrays(np.float32, SHAPES, elements=of)


def through_json(code_range: CodeRange) -> CodeRange:
    """The code range after a round trip through JSON, as in a shard."""
    return CodeRange.from_dictionary(json.loads(json.dumps(code_range.to_dictionary())))


@given(maps(DISTANCES | NO_DISTANCES | st.just(np.inf)))
def test_depth_round_trip_is_within_half_a_step(depth):
    codes, code_range = encode_depth(depth)
    inverse = decode_inverse_depth(codes, through_json(code_range))
    known = np.isfinite(depth) & (depth > 0)
    assert codes.dtype == np.uint16
    assert inverse.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(inverse), ~known & ~np.isposinf(depth))
    np.testing.assert_array_equal(inverse[np.isposinf(depth)], 0)
    np.testing.assert_array_equal(codes == SKY, np.isposinf(depth))
    np.testing.assert_array_equal(codes == UNKNOWN, np.isnan(inverse))
    if known.any():
        nearest, farthest = depth[known].min(), depth[known].max()
        half_a_step = math.log(farthest / nearest) / STEPS / 2
        ratio = inverse[known].astype(np.float64) * depth[known]
        assert np.abs(np.log(ratio)).max() <= half_a_step + FLOAT32


def test_depth_code_error_is_three_in_a_hundred_thousand():
    """As the module says; and not less, so that the bound means something."""
    depth = np.geomspace(1, 50, 500_000).astype(np.float32).reshape(500, 1000)
    inverse = decode_inverse_depth(*encode_depth(depth)).astype(np.float64)
    error = np.abs(inverse * depth - 1)
    assert error.max() < 3.05e-5
    for part in np.split(error.ravel(), 5):  # the same from near to far
        assert part.max() > 2.9e-5


@given(maps(st.floats(-1e4, 1e4, width=32) | st.just(np.nan)))
def test_inverse_depth_round_trip_is_within_half_a_step(inverse_depth):
    codes, code_range = encode_inverse_depth(inverse_depth)
    decoded = decode_inverse_depth(codes, through_json(code_range))
    known = np.isfinite(inverse_depth)
    np.testing.assert_array_equal(np.isnan(decoded), ~known)
    if known.any():
        values = inverse_depth[known].astype(np.float64)
        half_a_step = (values.max() - values.min()) / STEPS / 2
        rounding = FLOAT32 * np.abs(values).max()
        assert np.abs(decoded[known] - values).max() <= half_a_step * (1 + 1e-9) + rounding


@given(maps(DISTANCES))
def test_nearest_and_farthest_depth_are_ends_of_code_range(depth):
    codes, code_range = encode_depth(depth)
    assert code_range.low == pytest.approx(math.log(depth.min()), abs=1e-12)
    assert code_range.high == pytest.approx(math.log(depth.max()), abs=1e-12)
    order = np.argsort(depth.ravel())
    assert (np.diff(codes.ravel()[order].astype(int)) >= 0).all()
    if depth.min() < depth.max():
        assert (codes.min(), codes.max()) == (1, SKY - 1)


@given(value=DISTANCES, shape=SHAPES)
def test_constant_map_keeps_its_depth(value, shape):
    for encode, requested in ((encode_depth, 1 / value), (encode_inverse_depth, value)):
        decoded = decode_inverse_depth(*encode(np.full(shape, value, np.float32)))
        np.testing.assert_allclose(decoded, requested, rtol=2 * FLOAT32)


@pytest.mark.parametrize("encode", [encode_depth, encode_inverse_depth])
@pytest.mark.parametrize("shape", [(3, 4), (1, 1)])
def test_map_without_known_depth_stays_unknown(encode, shape):
    codes, code_range = encode(np.full(shape, np.nan, np.float32))
    assert (codes == UNKNOWN).all()
    decoded = decode_inverse_depth(codes, through_json(code_range))
    assert decoded.shape == shape
    assert np.isnan(decoded).all()


def test_map_of_sky_stays_sky():
    codes, code_range = encode_depth(np.full((2, 3), np.inf, np.float32))
    np.testing.assert_array_equal(decode_inverse_depth(codes, through_json(code_range)), np.zeros((2, 3)))


@given(arrays(np.uint16, SHAPES))
def test_png_round_trip_keeps_every_code(codes):
    np.testing.assert_array_equal(from_png(to_png(codes)), codes)


@given(codes=arrays(np.uint16, (8, 8)), data=st.data())
def test_damaged_png_is_rejected(codes, data):
    """Cut anywhere, or with any byte altered: PNG has checksums."""
    content = to_png(codes)
    place = data.draw(st.integers(0, len(content) - 1))
    with pytest.raises(ValueError, match="damaged"):
        from_png(content[:place])
    altered = bytearray(content)
    altered[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ValueError, match="damaged"):
        from_png(bytes(altered))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged"),
        (b"no picture", "damaged"),
        (cv2.imencode(".png", np.zeros((4, 4), np.uint8))[1].tobytes(), r"uint8 \(4, 4\), must be a 16-bit"),
        (cv2.imencode(".png", np.zeros((4, 4, 3), np.uint16))[1].tobytes(), r"uint16 \(4, 4, 3\), must be a 16-bit"),
    ],
)
def test_png_without_codes_is_rejected(content, message):
    with pytest.raises(ValueError, match=message):
        from_png(content)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scale": "log_depth", "low": 0.0}, "must have scale, low and high"),
        ({"scale": "log_depth", "low": None, "high": 1.0}, "must have scale, low and high"),
        ({"scale": "meters", "low": 0.0, "high": 1.0}, "scale is 'meters', must be log_depth or inverse_depth"),
    ],
)
def test_invalid_code_range_is_rejected(values, message):
    with pytest.raises(ValueError, match=message):
        CodeRange.from_dictionary(values)
