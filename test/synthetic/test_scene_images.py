"""Rendered scenes as a set: the renderer's images and depths, packed into shards like every other set."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import webdataset

pytest.importorskip("numba", reason="the renderer needs numba, of the extra `train`")

from depth_anything_ros.cli import main
from depth_anything_ros.data.depth_codes import CodeRange, decode_inverse_depth, from_png
from depth_anything_ros.data.frame import DataError, decode_image
from depth_anything_ros.data.shards import pack
from depth_anything_ros.synthetic import scene_images
from depth_anything_ros.synthetic.render import render
from depth_anything_ros.synthetic.scene_images import RenderedScenes, depth_with_sky
from depth_anything_ros.system.output_folder import FolderError

pytestmark = pytest.mark.usefixtures("renderer")

NOWHERE = Path("nowhere")
SCENES = RenderedScenes(count=3, size=(24, 32), first_seed=40)


def samples_of(folder: Path) -> list[dict]:
    return list(webdataset.WebDataset(sorted(map(str, folder.glob("*.tar"))), shardshuffle=False))


def test_scene_names_follow_seeds():
    assert list(SCENES.names(NOWHERE)) == ["scene_000000", "scene_000001", "scene_000002"]
    frame, scene = SCENES.read(NOWHERE, "scene_000002"), render(42, 32, 24)
    np.testing.assert_array_equal(frame.image, scene.image)
    np.testing.assert_array_equal(frame.depth, depth_with_sky(scene.depth))
    assert frame.depth.dtype == np.float32
    assert frame.camera == scene.camera
    assert frame.name == "rendered_scenes/scene_000002"


def test_kind_option_renders_only_that_kind(monkeypatch):
    tabletops = RenderedScenes(count=1, size=(24, 32), first_seed=7, kind="tabletop")
    requested = render(7, 32, 24, "tabletop")
    np.testing.assert_array_equal(tabletops.read(NOWHERE, "scene_000000").image, requested.image)


def test_distant_depth_counts_as_sky():
    depth = np.array([[0.5, 199.9], [200.0, np.inf]], np.float32)
    np.testing.assert_array_equal(depth_with_sky(depth), np.array([[0.5, 199.9], [np.inf, np.inf]], np.float32))
    assert depth_with_sky(depth).dtype == np.float32


@pytest.mark.parametrize("name", ["scene_000003", "scene_x", "other", "scene_-1"])
def test_missing_scene_is_named(name):
    with pytest.raises(DataError, match=name):
        SCENES.read(NOWHERE, name)


def test_sample_is_rendered_once(monkeypatch):
    seeds = []

    def counted(seed, *arguments, **options):
        seeds.append(seed)
        return render(seed, *arguments, **options)

    monkeypatch.setattr(scene_images, "render", counted)
    parts = SCENES.parts(NOWHERE, "scene_000001")
    assert seeds == [41]
    assert (parts.ending, parts.content) == SCENES.read_file(NOWHERE, "scene_000001")
    difference = decode_image(parts.content, "scene").astype(int) - parts.frame.image
    assert np.abs(difference).mean() < 6  # tiny pictures are all edges


def test_packed_scenes_have_depth_and_cameras(tmp_path):
    with ThreadPoolExecutor(1) as executor:
        list(pack(SCENES, NOWHERE, tmp_path, 2, executor))
    samples = samples_of(tmp_path)
    assert [sample["__key__"] for sample in samples] == ["scene_000000", "scene_000001", "scene_000002"]
    for sample in samples:
        frame, described = SCENES.read(NOWHERE, sample["__key__"]), json.loads(sample["json"])
        inverse = decode_inverse_depth(from_png(sample["depth.png"]), CodeRange.from_dictionary(described["depth"]))
        np.testing.assert_allclose(inverse, 1 / frame.depth, rtol=1e-4)
        camera = frame.camera
        assert described["camera"] == pytest.approx([camera.fx, camera.fy, camera.cx, camera.cy])
        assert described["is_metric"] is True


def test_stamp_changes_with_seed_size_and_kind():
    stamp = SCENES.stamp(NOWHERE, "scene_000000")
    for change in ({"size": (24, 30)}, {"first_seed": 41}, {"kind": "room"}):
        assert replace(SCENES, **change).stamp(NOWHERE, "scene_000000") != stamp
    assert replace(SCENES, count=9).stamp(NOWHERE, "scene_000000") == stamp  # more of them keep those there are


def test_scenes_pack_resumes_where_it_stopped(tmp_path, capsys):
    command = ["scenes", "--pack", str(tmp_path / "shards"), "--count", "3", "--seed", "40", "--size", "32", "24"]
    command += ["--shard", "2", "--processes", "1", "--json", str(tmp_path / "manifest.json")]
    assert main(command) == 0
    said = capsys.readouterr()
    assert f"{tmp_path / 'shards'}: 3 samples in 2 shards" in said.out
    assert "the first run on a machine compiles the renderer" in said.err  # true of every run
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest == json.loads((tmp_path / "shards" / "manifest.json").read_text())
    kept = (tmp_path / "shards" / "shard-000000.tar").stat().st_ino
    (tmp_path / "shards" / "shard-000001.tar").unlink()
    assert main(command) == 0
    assert json.loads((tmp_path / "manifest.json").read_text()) == manifest
    assert (tmp_path / "shards" / "shard-000000.tar").stat().st_ino == kept
    assert main(["data", "verify", str(tmp_path / "shards")]) == 0
    first, *_ = samples_of(tmp_path / "shards")
    assert first["jpg"] == SCENES.read_file(NOWHERE, "scene_000000")[1]


@pytest.mark.parametrize("change", [{"first_seed": 41}, {"size": (24, 30)}, {"kind": "room"}])
def test_scenes_pack_never_replaces_other_scenes(change, tmp_path):
    """All have the same names."""
    with ThreadPoolExecutor(1) as executor:
        list(pack(SCENES, NOWHERE, tmp_path / "shards", 2, executor, limit=3))
        before = [path.read_bytes() for path in sorted((tmp_path / "shards").glob("*.tar"))]
        with pytest.raises(FolderError) as raised:
            list(pack(replace(SCENES, **change), NOWHERE, tmp_path / "shards", 2, executor, limit=3))
        made = "contains shards of rendered_scenes made from scenes of all kinds, 32x24, robot cameras, from seed 40"
        assert made in str(raised.value)
        assert replace(SCENES, **change).origin(NOWHERE) in str(raised.value)
        assert [path.read_bytes() for path in sorted((tmp_path / "shards").glob("*.tar"))] == before
        more = list(pack(replace(SCENES, count=5), NOWHERE, tmp_path / "shards", 2, executor, limit=5))
        assert sum(shard.samples for shard in more) == 5
        assert [path.read_bytes() for path in sorted((tmp_path / "shards").glob("*.tar"))][:2] == before


@pytest.mark.parametrize("to", ["the terminal", "the command"])
def test_interrupted_scenes_command_leaves_no_partial_file(to, tmp_path):
    """Ctrl-C goes to all processes of a terminal; several in a row are as one."""
    output = tmp_path / "shards"
    command = [sys.executable, "-m", "depth_anything_ros", "scenes", "--pack", str(output), "--count", "1000"]
    process = subprocess.Popen(
        [*command, "--size", "640", "480", "--shard", "100", "--processes", "2"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    end = process.send_signal if to == "the command" else partial(os.killpg, process.pid)
    try:
        while process.poll() is None and len(list(output.glob(".*.partial"))) < 2:
            time.sleep(0.01)
        end(signal.SIGINT)
        said = next(line for line in process.stderr if "interrupted; finished shards are kept" in line)
        for _ in range(3):
            if process.poll() is None:
                end(signal.SIGINT)
        rest = process.communicate(timeout=60)[1]  # a shard takes longer
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130
    assert "Traceback" not in said + rest
    assert not [path for path in output.iterdir() if path.name not in (".lock", ".made.json")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--count", "0"], "--count is 0, but must be at least 1"),
        (["--processes", "0"], "--shard and --processes must be at least 1"),
        (["--size", "0", "24"], "--size is 0 24, but both must be at least 1"),
    ],
)
def test_scenes_pack_with_invalid_arguments_fails(arguments, message, tmp_path, capsys):
    assert main(["scenes", "--pack", str(tmp_path / "shards"), *arguments]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "shards").exists()
