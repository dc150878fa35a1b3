"""The TensorRT engine on a simulated GPU: its results, the order of its calls and the memory that it frees."""

from __future__ import annotations

import gc
import logging
import threading

import numpy as np
import pytest

pytest.importorskip("cuda.bindings", reason="the extra `tensorrt`")

from fake_cuda import ALLOCATIONS, FakeCuda
from fake_tensorrt import DataType, FakePlan, Tensor, TensorIOMode, image_plan, installed
from host_kernels import HostKernels

from depth_anything_ros.images.resizing import resize_image, resize_map
from depth_anything_ros.runtime.backends import frame_paths
from depth_anything_ros.runtime.cuda import driver as cuda_driver
from depth_anything_ros.runtime.cuda import memory as cuda_memory
from depth_anything_ros.runtime.cuda import resize as cuda_resize
from depth_anything_ros.runtime.cuda.driver import CudaDevice
from depth_anything_ros.runtime.errors import ModelError

DISCRETE = CudaDevice(0, "NVIDIA Test", "8.9", integrated=False)
INTEGRATED = CudaDevice(0, "Orin", "8.7", integrated=True)
SIZE = (24, 32)
STEADY_FRAME = ["cudaSetDevice", "cudaGraphLaunch", "cudaStreamSynchronize"]


def red(batch: np.ndarray) -> np.ndarray:
    return batch[..., 0]


def red_of_planes(batch: np.ndarray) -> np.ndarray:
    return batch[:, :1]


PLANS = {
    b"red": image_plan((1, *SIZE, 3), (1, *SIZE), red),
    b"channel": image_plan((1, *SIZE, 3), (1, 1, *SIZE), lambda batch: batch[None, ..., 0]),
    b"two": image_plan((2, *SIZE, 3), (2, *SIZE), red),
    b"float": image_plan((1, 3, *SIZE), (1, 1, *SIZE), red_of_planes, DataType.FLOAT),
    b"free": image_plan((-1, *SIZE, 3), (-1, *SIZE), red),
    b"half": image_plan((1, *SIZE, 3), (1, *SIZE), red, output_dtype=DataType.HALF),
    b"half input": image_plan((1, 3, *SIZE), (1, *SIZE), red, dtype=DataType.HALF),
    b"classes": image_plan((1, *SIZE, 3), (1, 1000), lambda batch: np.zeros((1, 1000))),
    b"large": FakePlan(image_plan((1, *SIZE, 3), (1, *SIZE), red).tensors, has_memory=False),
    b"two outputs": FakePlan(
        [
            Tensor("image", TensorIOMode.INPUT, DataType.UINT8, (1, *SIZE, 3)),
            Tensor("confidence", TensorIOMode.OUTPUT, DataType.FLOAT, (1, 1, 12, 16)),
            Tensor("depth", TensorIOMode.OUTPUT, DataType.FLOAT, (1, *SIZE)),
        ],
        lambda batch: (batch[None, :, ::2, ::2, 1], batch[..., 0]),
    ),
}


@pytest.fixture(scope="module")
def kernels(tmp_path_factory) -> HostKernels:
    return HostKernels(tmp_path_factory.mktemp("kernels"))


@pytest.fixture
def cuda(kernels) -> FakeCuda:
    return FakeCuda(kernels)


@pytest.fixture
def stand_ins(cuda, monkeypatch):
    with installed(cuda, monkeypatch) as modules:
        modules[0].plans = PLANS
        yield modules


@pytest.fixture
def tensorrt(stand_ins):
    return stand_ins[0]


@pytest.fixture
def engine_of(cuda, stand_ins):
    def make(plan: bytes = b"red", device: CudaDevice = DISCRETE, *outputs: str | None):
        return stand_ins[1].TensorRtEngine(plan, device, *outputs)

    return make


def waves(size: tuple[int, int], phase: float = 0.0) -> np.ndarray:
    rows, columns = np.meshgrid(*(np.linspace(0, 3, side) for side in size), indexing="ij")
    planes = [127 + 120 * np.sin(rows * gain + columns + phase) for gain in (0.3, 0.7, 1.0)]
    return np.stack(planes, axis=-1).astype(np.uint8)


def expected(image: np.ndarray, size: tuple[int, int] | None = None) -> np.ndarray:
    """The CPU's result for an image and the network that returns its red channel."""
    batch = np.empty((*SIZE, 3), np.uint8)
    resize_image(image, batch)
    return resize_map(batch[..., 0].astype(np.float32), image.shape[:2] if size is None else size)


def assert_close(ours: np.ndarray, theirs: np.ndarray) -> None:
    np.testing.assert_allclose(ours, theirs, atol=2.0)


class TestRun:
    def test_engine_runs_uint8_batches(self, engine_of):
        engine = engine_of()
        assert (engine.layout, engine.input_size) == ("uint8_nhwc", SIZE)
        for phase in range(3):
            batch = waves(SIZE, phase)[None]
            np.testing.assert_array_equal(engine.run(batch), red(batch))

    def test_engine_runs_float_channel_first_batches(self, engine_of):
        engine = engine_of(b"float")
        assert (engine.layout, engine.input_size) == ("float_nchw", SIZE)
        assert not engine.resizes_on_device
        batch = np.random.default_rng(0).random((1, 3, *SIZE), dtype=np.float32)
        np.testing.assert_array_equal(engine.run(batch), batch[:, 0])

    def test_engine_runs_batch_of_two(self, engine_of):
        batch = np.stack([waves(SIZE), waves(SIZE, 1.0)])
        np.testing.assert_array_equal(engine_of(b"two").run(batch), red(batch))

    @pytest.mark.parametrize("batch", [np.zeros((1, 24, 30, 3), np.uint8), np.zeros((1, *SIZE, 3), np.float32)])
    def test_batch_of_other_shape_or_dtype_is_rejected(self, engine_of, batch):
        with pytest.raises(ModelError, match=r"the plan takes uint8 \(1, 24, 32, 3\)"):
            engine_of().run(batch)


class TestEstimate:
    @pytest.mark.parametrize("device", [DISCRETE, INTEGRATED], ids=["discrete", "integrated"])
    @pytest.mark.parametrize("plan", [b"red", b"channel"])
    @pytest.mark.parametrize("size", [None, (60, 80), (11, 13), SIZE])
    @pytest.mark.parametrize("camera", [(96, 128), (17, 20), SIZE])
    def test_estimate_matches_cpu_for_any_camera_size(self, engine_of, device, plan, size, camera):
        engine = engine_of(plan, device)
        assert engine.resizes_on_device
        for phase in range(3):
            image = waves(camera, phase)
            assert_close(engine.estimate(image, size), expected(image, size))

    def test_engine_fills_out(self, engine_of):
        out = np.full((40, 50), np.nan, np.float32)
        image = waves((96, 128))
        assert engine_of().estimate(image, (40, 50), out) is out
        assert_close(out, expected(image, (40, 50)))

    def test_engine_results_do_not_share_buffer(self, engine_of):
        engine = engine_of()
        first = engine.estimate(np.full((50, 60, 3), 200, np.uint8))
        engine.estimate(np.full((50, 60, 3), 90, np.uint8))
        np.testing.assert_allclose(first, 200, rtol=1e-5)

    def test_views_of_any_strides_give_equal_result(self, engine_of):
        engine = engine_of()
        whole = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
        for image in (whole[..., ::-1], whole[10:70, 20:100], whole[:, ::-1], whole[::2, ::2], whole[::-1, ::-1, ::-1]):
            contiguous = np.ascontiguousarray(image)
            np.testing.assert_array_equal(engine.estimate(image), engine.estimate(contiguous))

    def test_bgr_image_viewed_as_rgb_keeps_red(self, engine_of):
        bgr = np.zeros((50, 60, 3), np.uint8)
        bgr[...] = (10, 20, 200)
        np.testing.assert_allclose(engine_of().estimate(bgr[..., ::-1]), 200, rtol=1e-5)

    @pytest.mark.parametrize(
        ("image", "size", "out"),
        [
            (np.zeros((5, 5, 3), np.float32), None, None),
            (np.zeros((5, 5, 3), np.uint8), (0, 5), None),
            (np.zeros((5, 5, 3), np.uint8), None, np.zeros((5, 4), np.float32)),
        ],
    )
    def test_engine_rejects_invalid_image_size_or_out(self, engine_of, image, size, out):
        with pytest.raises(ValueError, match=r"image has dtype|size is|out is"):
            engine_of().estimate(image, size, out)

    @pytest.mark.parametrize("plan", [b"float", b"two"])
    def test_plan_without_image_input_rejects_estimate(self, engine_of, plan):
        with pytest.raises(ModelError, match="cannot take an image"):
            engine_of(plan).estimate(waves((50, 60)))


@pytest.mark.parametrize("device", [DISCRETE, INTEGRATED], ids=["discrete", "integrated"])
class TestTwoOutputs:
    def test_engine_selects_named_depth_output(self, engine_of, device):
        engine = engine_of(b"two outputs", device, "depth")
        assert not engine.gives_confidence
        batch = waves(SIZE)[None]
        np.testing.assert_array_equal(engine.run(batch), red(batch))
        assert_close(engine.estimate(waves((96, 128))), expected(waves((96, 128))))

    def test_engine_returns_confidence_with_depth(self, engine_of, device):
        engine = engine_of(b"two outputs", device, None, "confidence")
        assert engine.gives_confidence
        for phase in range(3):
            batch = waves(SIZE, phase)[None]
            maps, confidences = engine.run_both(batch)
            np.testing.assert_array_equal(maps, red(batch))
            np.testing.assert_array_equal(confidences, batch[:, ::2, ::2, 1])

    @pytest.mark.parametrize("size", [(96, 128), (11, 13)])
    def test_estimate_fills_confidence_at_image_size(self, engine_of, device, size):
        engine = engine_of(b"two outputs", device, "depth", "confidence")
        for phase in range(3):
            image, confidence = waves((48, 64), phase), np.full(size, np.nan, np.float32)
            assert_close(engine.estimate(image, size, None, confidence), expected(image, size))
            small = np.empty((*SIZE, 3), np.uint8)
            resize_image(image, small)
            assert_close(confidence, resize_map(small[::2, ::2, 1].astype(np.float32), size))

    def test_unused_confidence_stays_on_device(self, engine_of, cuda, device):
        engine = engine_of(b"two outputs", device, "depth", "confidence")
        engine.estimate(waves((96, 128)))
        assert cuda.calls.count("cuLaunchKernel") == 2 * 3  # the image averaged and resized, the map; then captured
        cuda.calls.clear()
        engine.estimate(waves((96, 128)))
        assert cuda.calls == STEADY_FRAME

    def test_engine_frees_confidence_buffers(self, engine_of, cuda, device):
        engine = engine_of(b"two outputs", device, "depth", "confidence")
        engine.estimate(waves((96, 128)), confidence=np.empty((96, 128), np.float32))
        engine.close()
        assert cuda.live == {}

    def test_missing_output_is_named(self, engine_of, device):
        with pytest.raises(ModelError, match="no output 'certainty'"):
            engine_of(b"two outputs", device, "depth", "certainty")


class TestWithoutNvrtc:
    @pytest.fixture
    def absent(self, engine_of, monkeypatch):
        def compile_kernels(compute_capability: str) -> bytes:
            raise ModelError("nvrtcCreateProgram: no libnvrtc")

        monkeypatch.setattr(cuda_resize, "compile_kernels", compile_kernels)

    def test_without_nvrtc_cpu_resizes_with_one_warning(self, engine_of, absent, caplog):
        with caplog.at_level(logging.WARNING):
            engine = engine_of()
            assert not engine.resizes_on_device
            for phase in range(5):
                image = waves((96, 128), phase)
                np.testing.assert_array_equal(engine.estimate(image[..., ::-1]), expected(image[..., ::-1]))
        assert [record.message.count("no libnvrtc") for record in caplog.records] == [1]


class TestCalls:
    def test_first_frame_is_enqueued_then_captured(self, engine_of, cuda):
        engine = engine_of()
        cuda.calls.clear()
        engine.estimate(waves((96, 128)))
        once = ["cudaMemcpyAsync", *["cuLaunchKernel"] * 3, "cudaMemcpyAsync"]  # averaged, resized, the map resized
        after = cuda.calls[cuda.calls.index("cudaMemcpyAsync") :]
        capture = [
            "cudaStreamBeginCapture",
            *once,
            "cudaStreamEndCapture",
            "cudaGraphInstantiateWithFlags",
            "cudaGraphDestroy",
        ]
        assert after == [*once, "cudaStreamSynchronize", *capture]

    @pytest.mark.parametrize("device", [DISCRETE, INTEGRATED], ids=["discrete", "integrated"])
    def test_later_frames_use_one_launch_and_one_wait(self, engine_of, cuda, device):
        engine = engine_of(device=device)
        out = np.empty((96, 128), np.float32)
        engine.estimate(waves((96, 128)), out=out)
        cuda.calls.clear()
        for phase in range(20):
            engine.estimate(waves((96, 128), phase), out=out)
        assert cuda.calls == 20 * STEADY_FRAME

    def test_later_batches_use_one_launch_and_one_wait(self, engine_of, cuda):
        engine = engine_of()
        engine.run(waves(SIZE)[None])
        cuda.calls.clear()
        for _ in range(3):
            engine.run(waves(SIZE)[None])
        assert cuda.calls == 3 * STEADY_FRAME

    def test_integrated_gpu_copies_only_the_image(self, engine_of, cuda):
        """They read the processor's memory without a cache, and the kernels read each pixel many times."""
        engine = engine_of(device=INTEGRATED)
        engine.estimate(waves((96, 128)))
        engine.run(waves(SIZE)[None])
        assert cuda.calls.count("cudaMemcpyAsync") == 2 * 2  # up; each enqueued and captured
        assert sum(kind == "mapped" for kind, _ in cuda.live) == 2
        stages, _ = engine.stages(waves((96, 128)))
        assert [stage.name for stage in stages] == ["upload", "resize in", "engine", "resize out", "download"]

    def test_image_sizes_have_own_buffers_and_last_are_kept(self, engine_of, cuda):
        engine = engine_of()
        sizes = [(height, 60) for height in range(30, 70)]
        counts = []
        for size in sizes:
            assert_close(engine.estimate(waves(size)), expected(waves(size)))
            counts.append(len(cuda.live))
        assert counts[-1] == counts[32]
        cuda.calls.clear()
        for size in sizes[-3:]:
            engine.estimate(waves(size))
        assert not set(ALLOCATIONS) & set(cuda.calls)

    def test_alternating_cameras_allocate_nothing(self, engine_of, cuda):
        engine = engine_of()
        sizes = [(height, 60) for height in range(30, 38)]
        for _ in range(3):
            cuda.calls.clear()
            for size in sizes:
                engine.estimate(waves(size))
        assert cuda.calls == len(sizes) * STEADY_FRAME

    def test_pinned_memory_is_bounded(self, engine_of, cuda, monkeypatch):
        monkeypatch.setattr(frame_paths, "MAX_BYTES", 6 * (40 * 60 * 3 + 40 * 60 * 4))
        engine = engine_of()
        counts = []
        for width in range(60, 72):
            engine.estimate(waves((40, width)))  # none is halved, which takes memory that is not pinned
            counts.append(len(cuda.live))
        assert counts[4] > counts[3] == counts[2] + counts[1] - counts[0]
        assert counts[-1] == counts[5] or counts[-1] == counts[4]

    def test_engine_runs_from_any_thread(self, engine_of, cuda):
        engine = engine_of()
        results = []
        for _ in range(2):
            cuda.calls.clear()
            thread = threading.Thread(target=lambda: results.append(engine.run(waves(SIZE)[None]).copy()))
            thread.start()
            thread.join()
            assert cuda.calls[0] == "cudaSetDevice"  # else the thread has no CUDA context
        np.testing.assert_array_equal(results[0], results[1])


class TestCaptureFails:
    @pytest.fixture(
        params=["tensorrt", "cudaStreamBeginCapture", "cudaStreamEndCapture", "cudaGraphInstantiateWithFlags"]
    )
    def refusing(self, request, cuda, tensorrt):
        """Make one of the parties fail."""
        if request.param == "tensorrt":
            tensorrt.refuses_capture = True
        else:
            cuda.failures[request.param] = cuda_memory.cudart.cudaError_t.cudaErrorStreamCaptureUnsupported

    def test_failed_graph_capture_enqueues_frames_with_one_warning(self, engine_of, cuda, refusing, caplog):
        engine = engine_of()
        with caplog.at_level(logging.WARNING):
            for phase in range(4):
                cuda.captured = None
                image = waves((96, 128), phase)
                assert_close(engine.estimate(image), expected(image))
        assert [record.message.count("no CUDA graph") for record in caplog.records] == [1]
        assert cuda.calls.count("cudaStreamSynchronize") == 4
        assert "cudaGraphLaunch" not in cuda.calls
        engine.close()
        assert cuda.live == {}


class TestRefusals:
    @pytest.mark.parametrize(
        ("plan", "message"),
        [
            (b"of another version", "rebuild it: Version tag does not match"),
            (b"two outputs", "the record does not name the depth"),
            (b"free", "fixed shape"),
            (b"half", "output is DataType.HALF"),
            (b"half input", "takes one input, uint8"),
            (b"classes", r"output has shape \(1, 1000\)"),
            (b"large", "not enough memory"),
        ],
    )
    def test_invalid_plan_raises_and_frees_memory(self, engine_of, cuda, plan, message):
        with pytest.raises(ModelError, match=message):
            engine_of(plan)
        assert cuda.live == {}

    def test_tensorrt_that_fails_to_start_raises(self, engine_of, tensorrt):
        tensorrt.starts = False
        with pytest.raises(ModelError, match="does not start"):
            engine_of()

    def test_bindings_newer_than_driver_raise_with_fix(self, engine_of, monkeypatch):
        monkeypatch.setattr(cuda_driver, "driver_version", lambda: (11, 4))
        monkeypatch.setattr(cuda_memory.cuda.bindings, "__version__", "12.9.1")
        with pytest.raises(ModelError, match=r"CUDA 11\.4: pip install 'cuda-bindings<12'"):
            engine_of()

    def test_too_old_driver_raises_with_required_version(self, engine_of, monkeypatch):
        monkeypatch.setattr(cuda_driver, "driver_version", lambda: (10, 2))
        with pytest.raises(ModelError, match=r"supports CUDA 10\.2, but CUDA 11 is required: install a newer driver"):
            engine_of()

    def test_unknown_error_code_raises_model_error(self):
        """They raise what their enumeration raises, where a driver is newer than they are."""
        with pytest.raises(ModelError, match="cudaError_t: 12345 is not a valid"):
            cuda_memory.call(cuda_memory.cudart.cudaError_t, 12345)

    @pytest.mark.parametrize("name", ["cudaSetDevice", "cudaStreamCreateWithFlags"])
    def test_failed_call_at_start_raises_and_frees_memory(self, engine_of, cuda, name):
        cuda.failures[name] = cuda_memory.cudart.cudaError_t.cudaErrorMemoryAllocation
        with pytest.raises(ModelError, match=rf"{name}: out of memory \(error 2\)"):
            engine_of()
        assert cuda.live == {}

    @pytest.mark.parametrize(
        "name", ["cudaHostAlloc", "cudaMalloc", "cudaMemcpyAsync", "cuLaunchKernel", "cudaStreamSynchronize"]
    )
    def test_failed_call_at_first_frame_raises_and_frees_memory(self, engine_of, cuda, name):
        engine = engine_of()
        enumeration = cuda_memory.driver.CUresult if name.startswith("cuL") else cuda_memory.cudart.cudaError_t
        cuda.failures[name] = enumeration(2)
        with pytest.raises(ModelError, match=rf"{name}: out of memory \(error 2\)"):
            engine.estimate(waves((96, 128)))
        cuda.failures.clear()
        engine.close()
        assert cuda.live == {}

    def test_failed_launch_at_later_frame_raises(self, engine_of, cuda):
        engine = engine_of()
        engine.estimate(waves((96, 128)))
        cuda.failures["cudaGraphLaunch"] = cuda_memory.cudart.cudaError_t.cudaErrorIllegalAddress
        with pytest.raises(ModelError, match="cudaGraphLaunch: an illegal memory access"):
            engine.estimate(waves((96, 128)))


class TestClose:
    def test_close_frees_all_allocations(self, engine_of, cuda, tensorrt):
        engine = engine_of()
        engine.estimate(waves((96, 128)))
        engine.run(waves(SIZE)[None])
        assert cuda.live
        engine.close()
        assert cuda.live == {}
        assert tensorrt.freed == ["context", "engine", "runtime"]
        engine.close()

    def test_close_frees_graphs_before_buffers(self, engine_of, cuda):
        engine = engine_of()
        engine.estimate(waves((96, 128)))
        cuda.calls.clear()
        engine.close()
        assert cuda.calls[:2] == ["cudaSetDevice", "cudaGraphExecDestroy"]
        assert cuda.calls[-1] == "cudaStreamDestroy"

    def test_closed_engine_raises(self, engine_of):
        engine = engine_of()
        engine.close()
        with pytest.raises(ModelError, match="closed"):
            engine.run(waves(SIZE)[None])

    def test_garbage_collected_engine_frees_memory(self, engine_of, cuda):
        engine = engine_of()
        engine.estimate(waves((96, 128)))
        del engine
        gc.collect()
        assert cuda.live == {}
