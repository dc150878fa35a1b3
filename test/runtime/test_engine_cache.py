"""Cached engines are complete, match their key, are built once, and leave nothing after a failed build."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from waiting import limit

from depth_anything_ros.runtime.engines.cache import SIDECAR, EngineCache, EngineKey, RejectedEngineError
from depth_anything_ros.runtime.errors import ModelError

KEY = EngineKey(
    model="tiny",
    graph_sha256="a" * 64,
    weights_sha256="b" * 64,
    backend="tensorrt",
    library="tensorrt 10.3.0",
    device="Orin 8.7",
    precision="fp16",
    shape=(1, 140, 182, 3),
)


def write_plan(folder: Path) -> None:
    (folder / "plan").write_bytes(b"engine")


def test_engine_folder_name_is_stable_across_releases():
    """The name as release 0.1 gave it."""
    assert KEY.folder_name() == "tiny_1x140x182x3_tensorrt_fp16_85de23ca60e8"


def forbidden(folder: Path) -> None:
    raise AssertionError("built although it was there")


@pytest.fixture
def cache(tmp_path) -> EngineCache:
    return EngineCache(tmp_path / "engines")


def names_in(cache: EngineCache) -> set[str]:
    return {path.name for path in cache.folder.iterdir()} - {"locks"}


class TestKey:
    @pytest.mark.parametrize(
        "change",
        [
            {"graph_sha256": "c" * 64},
            {"weights_sha256": "c" * 64},
            {"library": "tensorrt 10.3.1"},
            {"device": "Orin 8.8"},
            {"precision": "fp32"},
            {"shape": (1, 182, 140, 3)},
            {"backend": "onnxruntime:cuda"},
        ],
        ids=lambda change: next(iter(change)),
    )
    def test_every_key_field_gives_its_own_engine(self, cache, change):
        first = cache.obtain(KEY, write_plan)
        other = cache.obtain(replace(KEY, **change), write_plan)
        assert first.folder != other.folder
        assert first.path("plan").is_file()

    def test_engine_folder_name_is_readable(self):
        assert KEY.folder_name().startswith("tiny_1x140x182x3_tensorrt_fp16_")


class TestObtain:
    def test_obtain_builds_engine_once(self, cache):
        built = cache.obtain(KEY, write_plan)
        found = cache.obtain(KEY, forbidden)
        assert found.path("plan").read_bytes() == b"engine"
        assert found.sidecar == built.sidecar

    def test_sidecar_records_key_files_and_build_time(self, cache):
        sidecar = json.loads((cache.obtain(KEY, write_plan).folder / SIDECAR).read_text())
        assert sidecar["key"]["library"] == "tensorrt 10.3.0"
        assert sidecar["key"]["shape"] == [1, 140, 182, 3]
        assert set(sidecar["files"]) == {"plan"}
        assert sidecar["build_seconds"] >= 0

    def test_rebuild_replaces_engine(self, cache):
        cache.obtain(KEY, write_plan)
        engine = cache.obtain(KEY, lambda folder: (folder / "other").write_bytes(b"new") and None, rebuild=True)
        assert not engine.path("plan").exists()
        assert engine.path("other").read_bytes() == b"new"

    def test_failed_build_leaves_no_files(self, cache):
        def fail(folder: Path) -> None:
            write_plan(folder)
            raise ModelError("out of memory")

        with pytest.raises(ModelError, match="out of memory"):
            cache.obtain(KEY, fail)
        assert names_in(cache) == set()

    def test_failed_rebuild_keeps_old_engine(self, cache):
        cache.obtain(KEY, write_plan)
        with pytest.raises(ZeroDivisionError):
            cache.obtain(KEY, lambda folder: 1 / 0, rebuild=True)
        assert cache.obtain(KEY, forbidden).path("plan").read_bytes() == b"engine"

    def test_unwritable_cache_folder_raises_with_variable(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(ModelError, match="DEPTH_ANYTHING_ROS_CACHE"):
            EngineCache(tmp_path / "file" / "engines").obtain(KEY, write_plan)


def truncate(folder: Path) -> None:
    (folder / "plan").write_bytes(b"eng")


def change_a_byte(folder: Path) -> None:
    (folder / "plan").write_bytes(b"engima")


def remove(folder: Path) -> None:
    (folder / "plan").unlink()


def forget_files(folder: Path) -> None:
    sidecar = json.loads((folder / SIDECAR).read_text())
    (folder / SIDECAR).write_text(json.dumps({**sidecar, "files": {}}))


def point_outside(folder: Path) -> None:
    """Refer to a foreign file with its correct hash: it must be neither run nor deleted."""
    sidecar = json.loads((folder / SIDECAR).read_text())
    (folder.parent.parent / "mine").write_bytes(b"engine")
    (folder / SIDECAR).write_text(json.dumps({**sidecar, "files": {"../../mine": sidecar["files"]["plan"]}}))


def come_from_elsewhere(folder: Path) -> None:
    sidecar = json.loads((folder / SIDECAR).read_text())
    sidecar["key"]["device"] = "Xavier 7.2"
    (folder / SIDECAR).write_text(json.dumps(sidecar))


def damage_sidecar(folder: Path) -> None:
    (folder / SIDECAR).write_text('{"key": ')


def replace_sidecar(folder: Path) -> None:
    (folder / SIDECAR).write_text("[]")


def remove_sidecar(folder: Path) -> None:
    (folder / SIDECAR).unlink()


class TestDamage:
    @pytest.mark.parametrize(
        ("damage", "reason"),
        [
            (truncate, "plan is damaged"),
            (change_a_byte, "plan is damaged"),
            (remove, "plan is missing"),
            (forget_files, "it has no files"),
            (point_outside, "would be outside its folder"),
            (come_from_elsewhere, "it was built for another device"),
            (damage_sidecar, "engine.json is damaged"),
            (replace_sidecar, "engine.json is damaged"),
            (remove_sidecar, "engine.json is damaged"),
        ],
    )
    def test_damaged_engine_is_rebuilt_with_reason(self, cache, damage, reason, caplog):
        damage(cache.obtain(KEY, write_plan).folder)
        with caplog.at_level(logging.WARNING):
            assert cache.obtain(KEY, write_plan).path("plan").read_bytes() == b"engine"
        assert reason in caplog.text
        caplog.clear()
        cache.obtain(KEY, forbidden)
        assert not caplog.text


class TestGate:
    def test_passed_gate_result_is_stored(self, cache):
        cache.obtain(KEY, write_plan).pass_gate("correlation 0.9999")
        assert cache.obtain(KEY, forbidden).sidecar["gate"] == "correlation 0.9999"

    def test_rejected_engine_is_deleted_and_not_rebuilt(self, cache):
        engine = cache.obtain(KEY, write_plan)
        engine.reject("3 pixels are NaN")
        assert not engine.path("plan").exists()
        with pytest.raises(RejectedEngineError, match="3 pixels are NaN"):
            cache.obtain(KEY, forbidden)
        assert cache.obtain(KEY, write_plan, rebuild=True).path("plan").is_file()
        cache.obtain(KEY, forbidden)

    def test_engines_lists_all_intact_engines(self, cache):
        cache.obtain(KEY, write_plan)
        cache.obtain(replace(KEY, precision="fp32"), write_plan).reject("wrong")
        damage_sidecar(cache.obtain(replace(KEY, precision="mixed"), write_plan).folder)
        assert [engine.sidecar["key"]["precision"] for engine in cache.engines()] == ["fp16", "fp32"]


class Waits(logging.Handler):
    """Signals when this process waits for another's lock."""

    def __init__(self, waiting) -> None:
        super().__init__()
        self._waiting = waiting

    def emit(self, record: logging.LogRecord) -> None:
        if "another process works on" in record.getMessage():
            self._waiting.set()


def build_slowly(folder: Path, waiting, builds) -> None:
    """Run in its own process: continue the build when the other process waits for it, and count it."""
    log = logging.getLogger("depth_anything_ros")
    log.setLevel(logging.INFO)
    log.addHandler(Waits(waiting))

    def build(partial: Path) -> None:
        assert waiting.wait(limit(60))
        write_plan(partial)
        with builds.get_lock():
            builds.value += 1

    EngineCache(folder).obtain(KEY, build)


def build_for_ever(folder: Path, started) -> None:
    def build(partial: Path) -> None:
        write_plan(partial)
        started.set()
        signal.pause()

    EngineCache(folder).obtain(KEY, build)


class TestSeveral:
    """Two users of one engine, such as two nodes."""

    def test_rejected_engine_cannot_pass_later(self, cache):
        first, second = cache.obtain(KEY, write_plan), cache.obtain(KEY, forbidden)
        first.reject("wrong")
        second.pass_gate("correlation 1")
        with pytest.raises(RejectedEngineError, match="wrong"):
            cache.obtain(KEY, forbidden)

    def test_reject_of_replaced_engine_keeps_new_one(self, cache):
        old = cache.obtain(KEY, write_plan)
        cache.obtain(KEY, lambda folder: (folder / "plan").write_bytes(b"better") and None, rebuild=True)
        old.reject("wrong")
        assert cache.obtain(KEY, forbidden).path("plan").read_bytes() == b"better"


@pytest.mark.skipif(os.geteuid() != 0, reason="changes into another user")
def test_read_only_cache_folder_still_gives_engines(cache, tmp_path):
    folder = cache.obtain(KEY, write_plan).folder
    for parent in (tmp_path, *tmp_path.parents):
        if parent.is_relative_to(tempfile.gettempdir()) and parent != Path(tempfile.gettempdir()):
            parent.chmod(0o755)
    os.seteuid(65534)
    try:
        engine = cache.obtain(KEY, forbidden)
        engine.pass_gate("correlation 1")  # cannot be noted, and costs nothing
        with pytest.raises(ModelError, match="cannot be built and stored there"):
            cache.obtain(replace(KEY, precision="fp32"), write_plan)
    finally:
        os.seteuid(0)
    assert engine.folder == folder


class TestProcesses:
    context = multiprocessing.get_context("spawn")

    def test_two_processes_build_engine_once(self, cache):
        waiting, builds = self.context.Event(), self.context.Value("i", 0)
        processes = [self.context.Process(target=build_slowly, args=(cache.folder, waiting, builds)) for _ in range(2)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
        assert [process.exitcode for process in processes] == [0, 0]
        assert builds.value == 1

    def test_killed_build_blocks_nothing(self, cache):
        started = self.context.Event()
        process = self.context.Process(target=build_for_ever, args=(cache.folder, started))
        process.start()
        assert started.wait(limit(60))
        os.kill(process.pid, signal.SIGKILL)
        process.join(60)
        engine = cache.obtain(KEY, lambda folder: (folder / "mine").write_bytes(b"whole") and None)
        assert {path.name for path in engine.folder.iterdir()} == {"mine", SIDECAR}
        assert names_in(cache) == {engine.folder.name}
