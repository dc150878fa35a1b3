"""The gate distinguishes damaged engines from correct ones; an estimator never returns a damaged one's depth."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx", reason="builds the graphs that are run")

from onnx import numpy_helper
from small_graphs import red_graph, relative_record, save_graph

from depth_anything_ros.runtime import backends, gate
from depth_anything_ros.runtime.backends import onnxruntime_backend as onnxruntime_module
from depth_anything_ros.runtime.backends.interface import LoadRequest
from depth_anything_ros.runtime.estimator import Estimator, ModelError
from depth_anything_ros.runtime.graph import read_graph
from depth_anything_ros.runtime.network import Network

SIZE = (24, 32)
RECORD = relative_record(input_size=SIZE)


def network_of(path: Path) -> Network:
    return Network(LoadRequest(backends.REFERENCE, read_graph(path), RECORD, SIZE))


pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def sound(tmp_path) -> Path:
    return save_graph(red_graph(SIZE, RECORD), tmp_path / "red.onnx")


@pytest.fixture
def reference(sound) -> np.ndarray:
    return gate.outputs(network_of(sound))


class DamagedBackend(onnxruntime_module.OnnxRuntimeBackend):
    """A real session with wrong maps, as from a miscompiled engine; ``damage`` changes them."""

    damage = staticmethod(lambda maps: maps)

    def run(self, batch: np.ndarray) -> np.ndarray:
        return type(self).damage(super().run(batch).copy())


def load(request: LoadRequest) -> DamagedBackend:
    backend = onnxruntime_module.load(request)
    backend.__class__ = DamagedBackend
    return backend


@pytest.fixture
def damaged(monkeypatch):
    """Put the damaged backend before all others. Call it with the change of the maps."""

    def install(damage) -> None:
        monkeypatch.setattr(DamagedBackend, "damage", staticmethod(damage))
        monkeypatch.setitem(sys.modules, "damaged_backend", sys.modules[__name__])
        reference = backends.BACKENDS["onnxruntime"]
        damaged_one = backends.BackendModule("damaged_backend", "onnxruntime", usual="fp32")
        monkeypatch.setattr(backends, "BACKENDS", {"damaged": damaged_one, "onnxruntime": reference})

    return install


def plant_nan(maps: np.ndarray) -> np.ndarray:
    maps[0, 3, 4] = np.nan
    return maps


def plant_outlier(maps: np.ndarray) -> np.ndarray:
    maps[0, 3, 4] += 60.0
    return maps


DAMAGES = {
    "a NaN": plant_nan,
    "an outlier": plant_outlier,
    "an output scaled": lambda maps: 1.1 * maps,
    "an output shifted": lambda maps: maps + 20.0,
    "an output upside down": lambda maps: maps[:, ::-1],
    "an output that overflows": lambda maps: np.where(maps > 150, np.inf, maps),
    "a constant": np.zeros_like,
    "noise": lambda maps: maps + np.random.default_rng(0).normal(0, 5, maps.shape).astype(np.float32),
    "another size": lambda maps: maps[:, 1:],
}


class TestEstimator:
    @pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
    def test_auto_falls_back_from_damaged_backend(self, sound, damaged, damage, caplog):
        damaged(damage)
        image = np.random.default_rng(1).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        with caplog.at_level(logging.WARNING):
            estimator = Estimator(sound)
        assert estimator.backend_name == "onnxruntime"
        assert "damaged" in estimator.provenance
        assert "trying onnxruntime" in caplog.text
        np.testing.assert_allclose(estimator.estimate(image), image[..., 0], atol=1e-3)

    @pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
    def test_damaged_backend_requested_by_name_is_rejected(self, sound, damaged, damage):
        damaged(damage)
        with pytest.raises(ModelError, match=r"red\.onnx|red:"):
            Estimator(sound, backend="damaged")

    def test_correct_backend_passes_gate(self, sound, damaged):
        damaged(lambda maps: maps)
        estimator = Estimator(sound, "damaged")
        assert estimator.backend_name == "damaged"
        assert "refused" not in estimator.provenance


class TestDamagedWeights:
    """Engines built from weights that are not the reference's."""

    def judge(self, reference, tmp_path, gain: float) -> gate.Verdict:
        return gate.judge(network_of(save_graph(red_graph(SIZE, RECORD, gain=gain), tmp_path / "d.onnx")), reference)

    def test_equal_weights_pass_gate(self, reference, tmp_path):
        verdict = self.judge(reference, tmp_path, gain=1.0)
        assert verdict.passed
        assert verdict.correlation == pytest.approx(1.0)
        assert verdict.worst == 0.0

    @pytest.mark.parametrize("gain", [1.05, 0.9, -1.0, 0.0])
    def test_different_weights_fail_gate(self, reference, tmp_path, gain):
        assert not self.judge(reference, tmp_path, gain).passed


class TestCompare:
    LIMITS = gate.LIMITS["fp32"]

    @settings(deadline=None)
    @given(seed=st.integers(0, 1000), noise=st.floats(0.0, 1e-4))
    def test_rounding_noise_passes_gate(self, seed, noise):
        generator = np.random.default_rng(seed)
        expected = generator.random((20, 30), dtype=np.float32)
        given_map = expected + noise * generator.standard_normal(expected.shape, dtype=np.float32)
        assert gate.compare(expected, given_map, self.LIMITS).passed

    @settings(deadline=None)
    @given(seed=st.integers(0, 1000), scale=st.floats(1.03, 100.0))
    def test_scaled_map_fails_gate(self, seed, scale):
        expected = np.random.default_rng(seed).random((20, 30), dtype=np.float32)
        verdict = gate.compare(expected, np.float32(scale) * expected, self.LIMITS)
        assert "worst pixel" in verdict.fault
        assert verdict.abs_rel < 1e-4  # the alignment takes the scale away; the worst pixel is not aligned

    @pytest.mark.parametrize("damage", [np.nan, np.inf, None], ids=["NaN", "infinite", "constant"])
    @pytest.mark.parametrize("given", ["the same", "garbage"])
    def test_invalid_reference_fails_gate(self, damage, given):
        expected = np.linspace(0, 1, 600, dtype=np.float32).reshape(20, 30)
        if damage is None:
            expected[:] = 1
        else:
            expected[3, 4] = damage
        candidate = expected if given == "the same" else np.random.default_rng(0).random((20, 30), np.float32)
        assert not gate.compare(expected, candidate, gate.LIMITS["int8"]).passed

    def test_gate_verdict_names_numbers_and_limit(self):
        expected = np.linspace(0, 1, 600, dtype=np.float32).reshape(20, 30)
        bad = expected.copy()
        bad[3, 4] += 0.5
        assert "worst pixel 0.5 is above 0.02" in str(gate.compare(expected, bad, self.LIMITS))


class TestReferences:
    def test_gate_references_are_computed_once(self, sound, damaged):
        damaged(lambda maps: maps)
        Estimator(sound)
        (stored,) = (gate.References()._folder).iterdir()
        before = stored.stat().st_mtime_ns
        Estimator(sound)
        assert stored.stat().st_mtime_ns == before

    def test_changed_weights_have_other_references(self, tmp_path, sound):
        references = gate.References()
        before = references.path(read_graph(sound), RECORD, SIZE)
        save_graph(red_graph(SIZE, RECORD, gain=2.0), sound)
        assert references.path(read_graph(sound), RECORD, SIZE) != before

    def test_external_weights_change_references(self, tmp_path):
        import onnx

        model = red_graph(SIZE, RECORD)
        gains = numpy_helper.from_array(np.ones(4, np.float32), "unused")
        model.graph.initializer.append(gains)
        path = tmp_path / "outside.onnx"
        onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
        references = gate.References()
        before = references.path(read_graph(path), RECORD, SIZE)
        content = bytearray((tmp_path / "weights.bin").read_bytes())
        content[0] ^= 1
        (tmp_path / "weights.bin").write_bytes(content)
        assert references.path(read_graph(path), RECORD, SIZE) != before

    def test_truncated_reference_is_recomputed(self, sound, damaged):
        damaged(lambda maps: maps)
        Estimator(sound)
        (stored,) = gate.References()._folder.iterdir()
        stored.write_bytes(stored.read_bytes()[:50])
        assert Estimator(sound, "damaged").backend_name == "damaged"
        assert gate.References().read(read_graph(sound), RECORD, SIZE) is not None

    def test_corrupt_reference_is_recomputed_and_rejects_no_backend(self, sound, damaged, caplog):
        damaged(lambda maps: maps)
        Estimator(sound)
        (stored,) = gate.References()._folder.iterdir()
        content = stored.read_bytes()
        stored.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))
        assert Estimator(sound, "damaged").backend_name == "damaged"
        assert "reference is damaged" in caplog.text
        assert stored.read_bytes() == content

    def test_changed_normalization_has_other_references(self, sound):
        references, graph = gate.References(), read_graph(sound)
        other = replace(RECORD, mean=(0.0, 0.0, 0.0))
        assert references.path(graph, RECORD, SIZE) != references.path(graph, other, SIZE)

    def test_changed_resizing_has_other_references(self, sound, monkeypatch):
        """Those that an earlier release kept would refuse every backend."""
        references, graph = gate.References(), read_graph(sound)
        before = references.path(graph, RECORD, SIZE)
        monkeypatch.setattr(gate, "RESIZING", "another")
        assert references.path(graph, RECORD, SIZE) != before

    def test_nan_reference_raises_weights_damaged(self, tmp_path, sound):
        with pytest.raises(ModelError, match="weights are damaged"):
            gate.References().write(read_graph(sound), RECORD, SIZE, np.full((3, *SIZE), np.nan, np.float32))


def test_gate_has_three_fixed_images():
    assert len(gate.images()) == 3
    assert all(image.dtype == np.uint8 and image.ndim == 3 for image in gate.images())
