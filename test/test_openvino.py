"""OpenVINO runs what ONNX Runtime runs, and says the same of it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="builds the graphs that are run")
pytest.importorskip("openvino", reason="the backend is optional: the extra `openvino`")

from small_graphs import open_graph, red_graph, relative_record, save_graph

from depth_anything_ros.runtime.estimator import Estimator, ModelError
from depth_anything_ros.zoo.catalogue import known_models

SIZE = (24, 32)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DEPTH_ANYTHING_ROS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def red(tmp_path) -> Path:
    return save_graph(red_graph(SIZE, relative_record(input_size=SIZE)), tmp_path / "red.onnx")


@pytest.mark.parametrize("count", [1, 3])
def test_gives_a_map_an_image_for_any_batch(red, count):
    batch = np.random.default_rng(0).integers(0, 256, (count, *SIZE, 3), dtype=np.uint8)
    backend = open_graph(red, "openvino", threads=1)
    np.testing.assert_allclose(backend.run(batch), batch[..., 0], atol=1e-4)


def test_estimates_do_not_share_the_backends_buffer(red):
    estimator = Estimator(red, backend="openvino")
    first = estimator.estimate(np.full((*SIZE, 3), 200, np.uint8))
    estimator.estimate(np.full((*SIZE, 3), 90, np.uint8))
    assert (first == 200).all()


def test_auto_takes_it(red):
    assert Estimator(red).backend_name == "openvino"


def test_the_bundled_model_passes_the_gate_at_every_size():
    if not known_models()["tiny"].files:
        pytest.skip("no bundled model")
    estimator = Estimator("tiny", backend="openvino", precision="fp32")
    reference = Estimator("tiny", backend="onnxruntime")
    for height, width in ((480, 640), (640, 480), (375, 1242), (500, 500), (720, 1280)):
        image = np.random.default_rng(height).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
        image = image.repeat(8, axis=0).repeat(8, axis=1)
        ours, theirs = estimator.estimate(image), reference.estimate(image)
        assert np.abs(ours - theirs).max() < 1e-3 * np.ptp(theirs)


def test_a_damaged_file_is_named(tmp_path, red):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(red.read_bytes()[:100])
    with pytest.raises(ModelError, match=r"broken\.onnx"):
        Estimator(broken, backend="openvino", record=relative_record())


def test_a_batch_of_the_wrong_shape_is_a_model_error(red):
    with pytest.raises(ModelError, match="OpenVINO failed"):
        open_graph(red, "openvino").run(np.zeros((1, 10), np.uint8))


class WithoutBfloat16:
    """OpenVINO's core on a processor that lacks the instructions."""

    def __init__(self, core) -> None:
        self._core = core

    def __getattr__(self, name):
        return getattr(self._core, name)

    def get_property(self, device, name):
        found = self._core.get_property(device, name)
        return [entry for entry in found if entry != "BF16"] if name == "OPTIMIZATION_CAPABILITIES" else found


def test_half_precision_is_never_emulated(red, monkeypatch):
    from depth_anything_ros.runtime.backends import openvino_backend

    core = WithoutBfloat16(openvino_backend.core())
    monkeypatch.setattr(openvino_backend, "core", lambda: core)
    estimator = Estimator(red, "openvino", precision="bf16")
    assert estimator.precision == "fp32"
    assert Estimator(red).precision == "fp32"
    (request,) = next(iter(estimator._networks.values()))._backend._requests.values()
    assert request.get_compiled_model().get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"


ENDS_ON_SIGNAL = """
import queue, signal, sys
from depth_anything_ros.runtime.estimator import Estimator
stop = queue.SimpleQueue()
signal.signal(signal.SIGINT, lambda *_: stop.put(None))
estimators = [Estimator(sys.argv[1], "openvino") for _ in range(3)]
del estimators[0]
del estimators
print("ready", flush=True)
stop.get()
"""


def test_estimators_that_come_and_go_leave_signals_alone(red):
    """Several of OpenVINO's cores in a process, freed out of turn, leave a signal stack behind that is gone."""
    process = subprocess.Popen([sys.executable, "-c", ENDS_ON_SIGNAL, str(red)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
