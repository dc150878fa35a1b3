"""16-bit images: the values that become black and white, their stability between images, and the depth."""

from __future__ import annotations

import logging

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depth_anything_ros.images import intensity
from depth_anything_ros.images.frame_reader import read_frames
from depth_anything_ros.images.intensity import InputRange, IntensityMapper
from depth_anything_ros.runtime.estimator import Estimator
from depth_anything_ros.runtime.gate import IMAGES

MODES = ("auto", "full", "percentile", "7000,9000")


def mapped(mapper: IntensityMapper, pixels: np.ndarray) -> np.ndarray:
    out = np.empty(pixels.shape, np.uint8)
    mapper(pixels.astype(np.uint16), out)
    return out


@pytest.fixture(scope="module")
def tiny() -> Estimator:
    return Estimator("tiny", "onnxruntime")


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return cv2.imread(str(sorted(IMAGES.glob("*.png"))[0]), cv2.IMREAD_GRAYSCALE)


def finer(picture: np.ndarray) -> np.ndarray:
    """The image with the sensor's values below 8 bits, in gray levels."""
    return picture + np.random.default_rng(0).random(picture.shape)


CAMERAS = {
    "10 bits": (0, 4, 10),
    "12 bits": (0, 16, 12),
    "14 bits": (0, 64, 14),
    "16 bits": (0, 256, None),
    "thermal, raw": (7000, 2000 / 256, 14),
    "thermal, hundredths of a kelvin": (29000, 1500 / 256, 15),
}
"""Value of black, step of a gray level, and the bits that are used where a warning is due."""


@pytest.mark.parametrize("camera", CAMERAS)
def test_depth_of_16_bit_image_equals_8_bit_depth(tiny, picture, camera):
    black, step, bits = CAMERAS[camera]
    mapper = IntensityMapper()
    pixels = mapped(mapper, black + finer(picture) * step)
    depths = [tiny.estimate(np.repeat(gray[..., np.newaxis], 3, axis=2)) for gray in (picture, pixels)]
    assert np.corrcoef(*(depth.ravel() for depth in depths))[0, 1] >= 0.98
    assert (mapper.note is None) == (bits is None)
    if bits in (10, 12, 14):
        values = (black + finer(picture) * step).astype(int)
        assert f"use {bits} bits: values are {values.min()} to {values.max()}, 98 % of them " in mapper.note


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_n_bit_values_are_shifted_to_8_bits(bits):
    values = np.arange(1 << bits, dtype=np.uint16)[np.newaxis]
    assert np.array_equal(mapped(IntensityMapper(), values), values >> bits - 8)
    assert np.array_equal(mapped(IntensityMapper(InputRange.of("full")), values), values >> 8)


@settings(deadline=None, max_examples=60)
@given(
    mode=st.sampled_from(MODES),
    shape=st.sampled_from([(1, 1), (1, 4), (4, 1), (1, 7), (9, 1), (5, 8), (5, 8, 3), (300, 4)]),
    low=st.integers(0, 65535),
    spread=st.integers(0, 65535),
    seed=st.integers(0, 9),
)
def test_mapping_is_equal_for_any_memory_layout(mode, shape, low, spread, seed):
    pixels = np.random.default_rng(seed).integers(low, min(low + spread, 65535) + 1, shape).astype(np.uint16)
    out = mapped(IntensityMapper(InputRange.of(mode)), pixels)
    order = np.argsort(pixels, axis=None)
    assert (np.diff(out.ravel()[order].astype(int)) >= 0).all()
    padded = np.zeros((shape[0], shape[1] + 3, *shape[2:]), np.uint16)[:, : shape[1]]
    padded[...] = pixels
    assert np.array_equal(mapped(IntensityMapper(InputRange.of(mode)), padded), out)


def test_fixed_range_clips_below_and_above():
    values = np.array([[0, 6999, 7000, 8000, 8999, 9000, 9001, 65535]], np.uint16)
    assert mapped(IntensityMapper(InputRange.of("7000,9000")), values).tolist() == [[0, 0, 0, 128, 255, 255, 255, 255]]


@pytest.mark.parametrize("text", ["", "Auto", "12", "1,2,3", "9,9", "9,7", "-1,5", "0,65536", "a,b", "1.5,3"])
def test_invalid_range_raises(text):
    with pytest.raises(ValueError, match="LOW"):
        InputRange.of(text)


def test_bits_in_use_never_decrease():
    """A dark frame between bright ones is dark, not stretched to full brightness."""
    mapper, ramp = IntensityMapper(), np.linspace(0, 1, 4096).reshape(64, 64)
    assert mapped(mapper, np.zeros((64, 64))).max() == 0
    assert mapper.note is None  # of a black image there is nothing to say
    assert mapped(mapper, 1000 * ramp).max() == 1000 >> 2
    assert "use 10 bits" in mapper.note
    assert mapped(mapper, 4000 * ramp).max() == 4000 >> 4
    assert "use 12 bits" in mapper.note
    assert mapped(mapper, 3000 * ramp).max() == 3000 >> 4
    assert mapped(mapper, np.zeros((64, 64))).max() == 0
    assert mapped(mapper, 4095 * ramp).max() == 255


def test_hot_pixel_does_not_change_bits_in_use():
    ramp = np.linspace(0, 16383, 200 * 200).reshape(200, 200)
    without, mapper = mapped(IntensityMapper(), ramp), IntensityMapper()
    ramp[7, 9] = 65535
    pixels = mapped(mapper, ramp)
    assert pixels[7, 9] == 255
    pixels[7, 9] = without[7, 9]
    assert np.array_equal(pixels, without)
    assert "use 14 bits, except hot pixels: values are 0 to 65535" in mapper.note
    ramp[:7, :9] = 65535  # so many are no hot pixels
    assert mapped(mapper, ramp)[8:].max() == 16383 >> 8


@pytest.mark.parametrize("mode", ["auto", "percentile"])
def test_followed_band_is_stable_under_noise(mode):
    """Noise and a hot spot that comes and goes change nothing; a scene that warms up is followed, bit by bit."""
    generator = np.random.default_rng(1)
    scene = 8000 + 300 * generator.standard_normal((120, 160))
    mapper = IntensityMapper(InputRange.of(mode))
    assert mapped(mapper, np.zeros((120, 160))).max() == 0  # its shutter is closed
    first = mapped(mapper, scene)
    assert 120 < first.mean() < 136
    assert first.std() > 40
    assert mapped(mapper, np.zeros((120, 160))).max() == 0
    for index in range(30):
        frame = scene + generator.integers(-20, 21, scene.shape)
        frame[:10, :10] = 8000 + 400 * (index % 2) * 10
        assert np.abs(mapped(mapper, frame)[10:].astype(int) - first[10:]).max() <= 8  # the noise
    means = [mapped(mapper, scene + 1000).mean() for _ in range(60)]  # it warms up by more than the range holds
    assert means[0] > 230
    assert np.abs(np.diff(means)).max() < 10
    assert 120 < means[-1] < 140
    assert means[-1] == means[-2]


def test_implausible_fixed_range_warns():
    twelve = np.linspace(0, 4095, 4096).reshape(64, 64)
    for mode, is_worth_it in (("full", True), ("7000,9000", True), ("0,4095", False), ("percentile", False)):
        mapper = IntensityMapper(InputRange.of(mode))
        mapped(mapper, twelve)
        assert (mapper.note is not None) == is_worth_it, mode
    full = IntensityMapper(InputRange.of("full"))
    mapped(full, twelve)
    assert full.note == (
        "16-bit images use 12 bits: values are 0 to 4095, 98 % of them 41 to 4054; 0 becomes black and 65535 white"
    )


def test_sixteen_bit_files_use_range_and_warn_once(tmp_path, picture, caplog, monkeypatch):
    monkeypatch.setattr(intensity, "_reported", set())
    for name in ("a.png", "b.tiff"):
        assert cv2.imwrite(str(tmp_path / name), picture.astype(np.uint16) * 16)
    paths = [tmp_path / "a.png", tmp_path / "b.tiff"]
    with caplog.at_level(logging.WARNING):
        frames = list(read_frames(paths))
    for frame in frames:
        assert np.array_equal(frame.image, np.repeat(picture[..., np.newaxis], 3, axis=2))
    (said,) = caplog.messages
    assert said.startswith(f"{paths[0]}: 16-bit images use 12 bits: ")
    (dark,) = read_frames(paths[:1], input_range=InputRange.of("full"))
    assert np.array_equal(dark.image[..., 0], picture >> 4)


@pytest.mark.parametrize("kind", [np.int16, np.float32])
def test_file_of_signed_or_float_values_is_rejected(tmp_path, picture, kind):
    """Depth or temperatures: cut to 8 bits they would be black and white patches."""
    assert cv2.imwrite(str(tmp_path / "a.tiff"), 100 * picture.astype(kind) - 5000)
    (frame,) = read_frames([tmp_path / "a.tiff"])
    assert frame.image is None
    assert "not a readable image" in frame.error
    if kind == np.int16:  # floating point OpenCV 5 refuses itself
        assert "it has int16 values, not an image's; convert it to 8 or 16 bits" in frame.error
