"""Two images at once on half of the cores: the same bits as one at a time, or one at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from depth_anything_ros.runtime.backends.interface import BackendChoice
from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.runtime.estimator import Estimator
from depth_anything_ros.runtime.shared_cores import SharedCores, load_halves

SIZE = (60, 80)


def estimated(cores: SharedCores, images: list[np.ndarray]) -> list[np.ndarray]:
    outs = [np.empty(SIZE, np.float32) for _ in images]
    jobs = [(image, SIZE, out) for image, out in zip(images, outs, strict=True)]
    with ThreadPoolExecutor(cores.count) as threads:
        started = [threads.submit(cores.estimate, *one, None) for one in jobs]
        for one in started:
            one.result()
    return outs


def pictures(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (count, *SIZE, 3), np.uint8))


def test_two_at_once_have_the_bits_of_one_at_a_time() -> None:
    whole, images = Estimator("tiny", "onnxruntime"), pictures(8)
    halves = [Estimator("tiny", "onnxruntime", threads=1) for _ in range(2)]
    cores = SharedCores(whole, halves)
    assert cores.count == 2
    for out, image in zip(estimated(cores, images), images, strict=True):
        assert np.array_equal(out, whole.estimate(image))


def test_other_bits_mean_one_at_a_time(tmp_path: Path) -> None:
    known_models = pytest.importorskip("known_models", reason="the tests write models with the onnx package")
    values = np.random.default_rng(0).random(SIZE)
    whole, *halves = (
        Estimator(known_models.write_constant_model(tmp_path / f"{number}.onnx", values + 1e-6 * number), "onnxruntime")
        for number in range(3)
    )
    for out in estimated(SharedCores(whole, halves), pictures(4)):
        assert np.array_equal(out, values.astype(np.float32))


def test_large_network_and_failed_load_stay_alone(tmp_path: Path, monkeypatch) -> None:
    whole = Estimator("tiny", "onnxruntime")

    def fail(choice: BackendChoice, threads: int) -> Estimator:
        raise ModelError("out of memory")

    monkeypatch.setattr("depth_anything_ros.runtime.shared_cores.usable_cores", lambda: 4)
    monkeypatch.setattr("depth_anything_ros.runtime.shared_cores.SLOW", 9.0)
    assert load_halves(whole, fail) == []
    assert len(load_halves(whole, lambda choice, threads: whole)) == 2
    monkeypatch.setattr("depth_anything_ros.runtime.shared_cores.usable_cores", lambda: 1)
    assert load_halves(whole, lambda choice, threads: whole) == []
    monkeypatch.setattr("depth_anything_ros.runtime.shared_cores.usable_cores", lambda: 4)
    monkeypatch.setattr("depth_anything_ros.runtime.shared_cores.SLOW", 0.0)
    assert load_halves(whole, lambda choice, threads: whole) == []
