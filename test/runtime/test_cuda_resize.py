"""The GPU's resize matches the CPU's. Its kernels run here as C++, and NVRTC compiles them."""

from __future__ import annotations

from contextlib import ExitStack

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("cuda.bindings", reason="the extra `tensorrt`")

from fake_cuda import FakeCuda
from host_kernels import HostKernels

from depth_anything_ros.images.resizing import resize_image, resize_map
from depth_anything_ros.runtime.cuda.resize import ResizeKernels, compile_kernels
from depth_anything_ros.runtime.errors import ModelError

SIDES = st.integers(1, 90)
SIZES = st.tuples(SIDES, SIDES)


@pytest.fixture(scope="module")
def resize(tmp_path_factory):
    """(image function, map function) over the kernels, with the launches of the product."""
    with pytest.MonkeyPatch.context() as monkeypatch, ExitStack() as resources:
        cuda = FakeCuda(HostKernels(tmp_path_factory.mktemp("kernels")))
        cuda.install(monkeypatch)
        kernels = ResizeKernels("8.7", resources)
        stream = cuda.cudaStreamCreateWithFlags(1)[1]

        def resized(launch, out: np.ndarray) -> np.ndarray:
            launch(stream)
            cuda.cudaStreamSynchronize(stream)
            return out

        def image(source: np.ndarray, size: tuple[int, int], reversed_channels: bool = False) -> np.ndarray:
            out = np.zeros((*size, 3), np.uint8)
            with ExitStack() as halves:
                addresses = source.ctypes.data, source.shape[:2], out.ctypes.data, size
                return resized(kernels.image(*addresses, halves, reversed_channels), out)

        def depth(source: np.ndarray, size: tuple[int, int]) -> np.ndarray:
            out = np.full(size, np.nan, np.float32)
            return resized(kernels.map(source.ctypes.data, source.shape, out.ctypes.data, size), out)

        yield image, depth


def noise(size: tuple[int, int], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def smooth(size: tuple[int, int], seed: int) -> np.ndarray:
    """Waves of at most one period over the image, in all gray levels."""
    generator = np.random.default_rng(seed)
    rows, columns = np.meshgrid(*(np.linspace(0, 1, side) for side in size), indexing="ij")
    planes = [
        127.5 + 127.5 * np.sin(np.pi * (vertical * rows + horizontal * columns) + phase)
        for vertical, horizontal, phase in generator.random((3, 3)) * (1, 1, 2 * np.pi)
    ]
    return np.stack(planes, axis=-1).astype(np.uint8)


def by_host(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    out = np.empty((*size, 3), np.uint8)
    resize_image(image, out)
    return out


def greatest(ours: np.ndarray, theirs: np.ndarray) -> int:
    return int(np.abs(ours.astype(int) - theirs.astype(int)).max())


class TestImage:
    @given(source=SIZES, size=SIZES, seed=st.integers(0, 99))
    def test_gpu_resize_is_bicubic_below_factor_two(self, resize, source, size, seed):
        """Whether both axes grow, both shrink, or one of them."""
        size = min(size[0], 2 * source[0]), min(size[1], 2 * source[1])
        source = min(source[0], 2 * size[0] - 1), min(source[1], 2 * size[1] - 1)
        image = noise(source, seed)
        theirs = cv2.resize(image, size[::-1], interpolation=cv2.INTER_CUBIC)
        assert greatest(resize[0](image, size), theirs) <= 2
        assert greatest(by_host(image, size), theirs) == 0

    @given(source=st.tuples(st.integers(2, 200), st.integers(2, 200)), size=SIZES, seed=st.integers(0, 99))
    def test_gpu_halving_matches_cpu_for_odd_sides(self, resize, source, size, seed):
        """Each halving is rounded, and one gray level may become three by bicubic weights."""
        image = noise(source, seed)
        assert greatest(resize[0](image, size), by_host(image, size)) <= 3

    @given(size=SIZES, halvings=st.integers(1, 3), seed=st.integers(0, 99))
    def test_gpu_halving_averages_areas(self, resize, size, halvings, seed):
        image = noise((size[0] * 2**halvings, size[1] * 2**halvings), seed)
        areas = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
        assert greatest(resize[0](image, size), areas) <= halvings
        assert greatest(by_host(image, size), areas) <= halvings

    @given(source=st.tuples(st.integers(200, 400), st.integers(200, 400)), size=SIZES, seed=st.integers(0, 99))
    @settings(max_examples=50)
    def test_gpu_shrinking_matches_cpu_on_smooth_images(self, resize, source, size, seed):
        size = max(size[0], 28), max(size[1], 28)
        image = smooth(source, seed)
        assert greatest(resize[0](image, size), by_host(image, size)) <= 2

    @pytest.mark.parametrize("size", [(518, 924), (308, 406), (720, 1280)])
    def test_gpu_resize_of_camera_image_matches_cpu(self, resize, size):
        image = smooth((720, 1280), 3)
        assert greatest(resize[0](image, size), by_host(image, size)) <= 2

    def test_gpu_resize_may_grow_one_axis_and_shrink_other(self, resize):
        image = smooth((300, 60), 1)
        assert greatest(resize[0](image, (120, 90)), by_host(image, (120, 90))) <= 2

    @pytest.mark.parametrize("size", [(40, 50), (20, 25), (80, 100)])
    def test_gpu_resize_of_reversed_channels_is_equal(self, resize, size):
        image = noise((40, 50), 5)
        plain = resize[0](np.ascontiguousarray(image[..., ::-1]), size)
        np.testing.assert_array_equal(resize[0](image, size, reversed_channels=True), plain)

    def test_gpu_resize_to_same_size_copies_image(self, resize):
        image = noise((33, 47), 6)
        np.testing.assert_array_equal(resize[0](image, (33, 47)), image)

    def test_gpu_resize_of_long_sides_does_not_overflow(self, resize):
        """Steps of a long row: each is where it belongs, and bicubic rings for two pixels around it."""
        levels = np.repeat(np.uint8([10, 100, 200, 240]), 3).reshape(4, 1, 3)
        image, expected = (np.repeat(levels, side, axis=1).reshape(1, -1, 3) for side in (15_000, 10_000))
        resized = resize[0](image, (1, 40_000))
        differing = np.flatnonzero((resized != expected).any(axis=2))
        assert np.abs(differing[:, None] - [10_000, 20_000, 30_000]).min(axis=1).max() <= 2
        assert greatest(resized, expected) <= 30


class TestMap:
    @given(source=SIZES, size=SIZES, seed=st.integers(0, 99))
    def test_gpu_map_resize_matches_opencv_bilinear(self, resize, source, size, seed):
        values = np.random.default_rng(seed).uniform(0.5, 20, source).astype(np.float32)
        np.testing.assert_allclose(resize[1](values, size), resize_map(values, size), rtol=1e-4)

    @given(size=SIZES, seed=st.integers(0, 99))
    def test_gpu_map_resize_to_same_size_copies_nan(self, resize, size, seed):
        values = np.random.default_rng(seed).choice(np.float32([1, np.nan, np.inf]), size)
        np.testing.assert_array_equal(resize[1](values, size), values)


@pytest.fixture(scope="module")
def nvrtc():
    from cuda.bindings import nvrtc

    try:
        nvrtc.nvrtcVersion()
    except RuntimeError as error:
        pytest.skip(f"NVRTC is not installed: {error}")


class TestNvrtc:
    @pytest.mark.parametrize("compute_capability", ["8.7", "8.9", "9.0"])
    def test_nvrtc_compiles_kernels_without_gpu(self, nvrtc, compute_capability):
        cubin = compile_kernels(compute_capability)
        assert cubin.startswith(b"\x7fELF")
        assert b"resize_image" in cubin
        assert b"resize_map" in cubin

    def test_nvrtc_error_names_unknown_gpu(self, nvrtc):
        with pytest.raises(ModelError, match=r"nvrtcCompileProgram: .*gpu-architecture"):
            compile_kernels("1.0")


def test_missing_nvrtc_raises_with_reason(monkeypatch):
    from cuda.bindings import nvrtc

    try:
        nvrtc.nvrtcVersion()
    except RuntimeError:
        with pytest.raises(ModelError, match=r"(?i)nvrtc.*: (pip|sudo apt) install (nvidia-)?cuda-nvrtc"):
            compile_kernels("8.7")
    else:
        pytest.skip("NVRTC is installed")
