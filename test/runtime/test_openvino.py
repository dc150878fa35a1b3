"""OpenVINO gives the same results as ONNX Runtime."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="builds the graphs that are run")
pytest.importorskip("openvino", reason="the backend is optional: the extra `openvino`")

from small_graphs import open_graph, red_graph, relative_record, save_graph
from waiting import limit

from depth_anything_ros.runtime.cpu_features import processor
from depth_anything_ros.runtime.errors import UnavailableError
from depth_anything_ros.runtime.estimator import Estimator, ModelError
from depth_anything_ros.zoo.catalog import known_models

SIZE = (24, 32)


pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def red(tmp_path) -> Path:
    return save_graph(red_graph(SIZE, relative_record(input_size=SIZE)), tmp_path / "red.onnx")


@pytest.mark.parametrize("count", [1, 3])
def test_openvino_batch_gives_one_map_per_image(red, count):
    batch = np.random.default_rng(0).integers(0, 256, (count, *SIZE, 3), dtype=np.uint8)
    backend = open_graph(red, "openvino", threads=1)
    np.testing.assert_allclose(backend.run(batch), batch[..., 0], atol=1e-4)


def test_openvino_results_do_not_share_buffer(red):
    estimator = Estimator(red, backend="openvino")
    first = estimator.estimate(np.full((*SIZE, 3), 200, np.uint8))
    estimator.estimate(np.full((*SIZE, 3), 90, np.uint8))
    assert (first == 200).all()


def test_auto_measures_openvino_and_takes_fastest(red, caplog):
    with caplog.at_level("INFO"):
        estimator = Estimator(red)
    measured = caplog.text.partition("measured here now: ")[2]
    assert measured.startswith(f"{estimator.backend_name} {estimator.precision}")
    assert "openvino fp32" in measured


def test_openvino_bundled_model_matches_reference_at_every_size():
    if not known_models()["tiny"].files:
        pytest.skip("no bundled model")
    estimator = Estimator("tiny", backend="openvino", precision="fp32")
    reference = Estimator("tiny", backend="onnxruntime")
    for height, width in ((480, 640), (640, 480), (375, 1242), (500, 500), (720, 1280)):
        image = np.random.default_rng(height).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
        image = image.repeat(8, axis=0).repeat(8, axis=1)
        ours, theirs = estimator.estimate(image), reference.estimate(image)
        assert np.abs(ours - theirs).max() < 1e-3 * np.ptp(theirs)


def test_openvino_names_damaged_file(tmp_path, red):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(red.read_bytes()[:100])
    with pytest.raises(ModelError, match=r"broken\.onnx"):
        Estimator(broken, backend="openvino", record=relative_record())


def test_openvino_wrong_batch_shape_raises_model_error(red):
    with pytest.raises(ModelError, match="OpenVINO failed"):
        open_graph(red, "openvino").run(np.zeros((1, 10), np.uint8))


def arithmetic_of(estimator: Estimator) -> str:
    """Return the inference precision that OpenVINO reports."""
    (request,) = next(iter(estimator._networks.values()))._backend._requests.values()
    return request.get_compiled_model().get_property("INFERENCE_PRECISION_HINT").to_string()


@pytest.mark.processor
class TestBfloat16:
    """bfloat16 is used if the processor has it, and never emulated."""

    def test_openvino_auto_uses_bf16_if_supported(self, red):
        estimator = Estimator(red, "openvino", fallback=False)
        expected = ("bf16", "bf16") if processor().bf16 else ("fp32", "f32")
        assert (estimator.precision, arithmetic_of(estimator)) == expected

    def test_openvino_auto_uses_fp32_if_bf16_is_masked(self, red, monkeypatch, caplog):
        """OpenVINO itself goes on offering bfloat16 then, and fails."""
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
        if processor().bf16:
            pytest.skip("the variable is of x86-64 processors")
        estimator = Estimator(red, "openvino", fallback=False)
        assert (estimator.precision, arithmetic_of(estimator)) == ("fp32", "f32")
        assert not [record for record in caplog.records if record.levelno >= logging.WARNING]

    def test_openvino_bf16_without_support_is_rejected_with_reason(self, red, monkeypatch, caplog):
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
        if processor().bf16:
            pytest.skip("the variable is of x86-64 processors")
        with pytest.raises(
            UnavailableError, match=r"this processor \(x86_64.*\) has no bfloat16 arithmetic; request fp32"
        ):
            Estimator(red, "openvino", precision="bf16", fallback=False)
        estimator = Estimator(red, "openvino", precision="bf16")
        assert (estimator.precision, arithmetic_of(estimator)) == ("fp32", "f32")
        assert "has no bfloat16 arithmetic" in caplog.text
        assert "has no bfloat16 arithmetic" in estimator.provenance


ENDS_ON_SIGNAL = """
import queue, signal, sys
from depth_anything_ros.runtime.errors import UnavailableError
from depth_anything_ros.runtime.estimator import Estimator
stop = queue.SimpleQueue()
signal.signal(signal.SIGINT, lambda *_: stop.put(None))
estimators = [Estimator(sys.argv[1], "openvino") for _ in range(3)]
del estimators[0]
del estimators
print("ready", flush=True)
stop.get()
"""


def test_openvino_estimators_leave_signal_handling_intact(red):
    """Several of OpenVINO's cores in a process, freed out of turn, leave a signal stack behind that is gone."""
    process = subprocess.Popen([sys.executable, "-c", ENDS_ON_SIGNAL, str(red)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(limit(30)) == 0
    finally:
        process.kill()
        process.wait()
