"""Complete stages on little data: best weights by source, damaged images, focal lengths, other mounts."""

from __future__ import annotations

import json
import logging
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the `train` extra")
pytest.importorskip("lightning_fabric", reason="training needs the `train` extra")

from stage_runs import entries, written  # noqa: E402

from depth_anything_ros.cli import main  # noqa: E402
from depth_anything_ros.data.depth_files import Picture  # noqa: E402
from depth_anything_ros.data.depth_set import DepthSet  # noqa: E402
from depth_anything_ros.data.shards import pack  # noqa: E402
from depth_anything_ros.data.tar_members import tar_members  # noqa: E402
from depth_anything_ros.geometry.camera import Camera  # noqa: E402
from depth_anything_ros.model.checkpoints import load_checkpoint, read_record  # noqa: E402
from depth_anything_ros.postprocessing.meters import focal_gain  # noqa: E402
from depth_anything_ros.training.configuration import StageConfiguration  # noqa: E402
from depth_anything_ros.training.input.samples import open_data  # noqa: E402
from depth_anything_ros.training.nominal_scale import predict  # noqa: E402
from depth_anything_ros.training.training_focal import training_focal  # noqa: E402

IMAGE, SIZE = (28, 42), (14, 28)
CAMERA = (90.0, 96.0, 20.5, 13.5)


def packed(folder: Path, name: str, count: int, camera: tuple[float, float, float, float] | None = CAMERA) -> str:
    """Shards of noise with smooth depth, three samples each."""
    generator = np.random.default_rng(len(name) * 1000 + count)
    root = folder / f"{name}_files"
    (root / "depth").mkdir(parents=True)
    for number in range(count):
        cv2.imwrite(str(root / f"{number:02d}.png"), generator.integers(0, 256, (*IMAGE, 3), np.uint8))
        coarse = generator.uniform(100, 4000, (3, 4)).astype(np.float32)
        cv2.imwrite(str(root / "depth" / f"{number:02d}.png"), cv2.resize(coarse, IMAGE[::-1]).astype(np.uint16))
    declared = DepthSet(
        *(name, name, "", "", "{frame}.png"), depths="depth/{frame}.png", read_depth=Picture(0.01), camera=camera
    )
    with ThreadPoolExecutor(1) as executor:
        list(pack(declared, root, folder / name, 3, executor))
    return str(folder / name)


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("shards")
    data = {name: packed(folder, name, count) for name, count in (("learned", 12), ("one", 9), ("two", 2))}
    return data | {
        "lensless": packed(folder, "lensless", 4, None),
        "other_lens": packed(folder, "tele", 12, (400,) * 4),
    }


def values_of(stage: str, labeled: list[str], validation: tuple[str, ...] = (), **data) -> dict:
    values = {
        "stage": stage,
        "name": stage,
        "network": {"encoder": "tiny", "version": "v2", "start": "tiny"},
        "data": {
            **{"labeled": [{"shards": path} for path in labeled], "labeled_batch_size": 2, "workers": 0},
            **{
                "validation": [{"shards": path} for path in validation],
                "validation_images": 6,
                "sizes": [SIZE],
                **data,
            },
        },
        "optimizer": {"steps": 2},
        "run": {"precision": "32-true", "log_every": 1, "save_every": 1, "validate_every": 1},
    }
    if stage == "metric":
        values["network"]["max_depth"] = 40.0
    return values


def train(folder: Path, values: dict, status: int = 0) -> tuple[Path, dict]:
    """Run a stage in this process; return its folder and the report of --json."""
    folder.mkdir(exist_ok=True)
    words = ["train", str(written(folder / "stage.yaml", values)), "--output", str(folder / "run")]
    assert main([*words, "--accelerator", "cpu", "--json", str(folder / "result.json")]) == status
    return folder / "run", json.loads((folder / "result.json").read_text())


def test_validation_score_is_mean_over_sources(shards, tmp_path, capsys):
    folder, result = train(tmp_path, values_of("teacher", [shards["learned"]], (shards["one"], shards["two"])))
    assert set(result["by_source"]) == {"one", "two"}
    for name, value in result["scores"].items():
        assert value == pytest.approx(np.mean([scores[name] for scores in result["by_source"].values()]))
    assert result["scores"]["delta1"] == max(entry["delta1"] for entry in entries(folder, "validation"))
    assert len(entries(folder, "validation/two")) == 2
    printed = capsys.readouterr().out
    assert re.search("validation +one +4 of 9  depth in meters", printed)
    assert re.search("validation +two +2 of 2  depth in meters", printed)
    (record,) = json.loads((folder / "run.json").read_text())
    assert [version.split()[0] for version in record["data"]["validation"]] == ["one", "two"]


def test_damaged_validation_image_is_skipped_named_and_counted(shards, tmp_path, capsys, caplog):
    validation = Path(shutil.copytree(shards["one"], tmp_path / "one"))
    place = tar_members(validation / "shard-000000.tar")["00%2Epng.png"]
    with (validation / "shard-000000.tar").open("r+b") as file:
        file.seek(place[0])
        file.write(b"x" * place[1])
    _, result = train(tmp_path / "stage", values_of("teacher", [shards["learned"]], (str(validation),)), status=1)
    assert result["left_out"] == 1
    assert result["scores"]
    assert Path(result["checkpoint"]).is_file()
    assert "left out: 1 validation images that cannot be read" in capsys.readouterr().err
    assert sum("00%2Epng.png is not a picture" in message for message in caplog.messages) == 1


def test_damaged_evaluation_image_is_counted(shards, tmp_path, capsys):
    """And so for the others' scores; pictures of which nothing is known are scored by nobody."""
    scored = Path(shutil.copytree(shards["one"], tmp_path / "one"))
    place = tar_members(scored / "shard-000000.tar")["00%2Epng.png"]
    with (scored / "shard-000000.tar").open("r+b") as file:
        file.seek(place[0])
        file.write(b"x" * place[1])
    evaluation = [{"shards": str(scored)}, {"set": "folder", "root": shards["two"] + "_files/depth"}]
    _, result = train(tmp_path / "stage", values_of("teacher", [shards["learned"]], evaluation=evaluation), status=1)
    assert (result["left_out"], result["evaluation_left_out"]) == (0, 1)
    assert set(result["evaluation"]) == {"one"}
    said = capsys.readouterr()
    assert "left out: 1 evaluation images that cannot be read" in said.err
    assert re.search("evaluation +folder +2 +none, not scored", said.out)


def test_metric_stage_skips_validation_without_unit(shards, tmp_path, capsys):
    relative = Path(shutil.copytree(shards["one"], tmp_path / "one"))
    in_meters = b'"is_metric": true'
    for shard in relative.glob("*.tar"):
        content = shard.read_bytes()
        assert in_meters in content
        shard.write_bytes(content.replace(in_meters, b'"is_metric":false'))
    values = values_of("metric", [shards["learned"]], evaluation=[{"shards": str(relative)}, {"shards": shards["two"]}])
    _, result = train(tmp_path / "stage", values)
    assert set(result["evaluation"]) == {"two"}
    assert "depth up to a factor, not scored" in capsys.readouterr().out


def test_best_weights_of_other_validation_images_are_reported(shards, tmp_path, caplog):
    values = values_of("teacher", [shards["learned"]], (shards["one"],))
    train(tmp_path, values)
    values["data"]["validation"] = [{"shards": shards["two"]}]
    train(tmp_path, values)
    (message,) = {message for message in caplog.messages if "best" in message}
    assert "best.pt: ignoring the best weights so far, of step " in message
    assert "their scores are from other validation images (6 of one " in message


def test_without_validation_output_is_rescaled_by_training_images(shards, tmp_path):
    _, result = train(tmp_path / "teacher", values_of("teacher", [shards["learned"], shards["lensless"]]))
    record = read_record(Path(result["checkpoint"]))
    assert record.nominal_scale[0] == 1.0
    assert "is the best fit to training images" in record.description
    assert result["scores"] == {}


def test_without_depth_typical_output_becomes_one(tmp_path, shards):
    photographs = tmp_path / "photographs"
    shutil.copytree(Path(shards["one"]).with_name("one_files"), photographs, ignore=lambda *_: ["depth"])
    values = values_of("distil", [])
    values["data"] |= {"labeled_batch_size": 0, "unlabeled_batch_size": 2}
    values["data"]["unlabeled"] = [{"set": "folder", "root": str(photographs)}]
    values |= {"teacher": {"model": "tiny"}, "losses": {"alignment": 0.0}}
    _, result = train(tmp_path / "distil", values)
    assert read_record(Path(result["checkpoint"])).nominal_scale is None
    network = load_checkpoint(Path(result["checkpoint"]))
    images = [cv2.imread(str(path))[..., ::-1] for path in sorted(photographs.glob("*.png"))]
    outputs = [predict(network, np.ascontiguousarray(image), SIZE).mean() for image in images]
    assert np.median(outputs) == pytest.approx(1.0, rel=0.2)  # of some of them


# ---- meters, and the lens that they are right for


def test_metric_stage_records_focal_length_of_crops(shards, tmp_path):
    _, result = train(tmp_path, values_of("metric", [shards["learned"]], (shards["one"],)))
    record = read_record(Path(result["checkpoint"]))
    # Of 28 x 42 pixels the largest crop of 14 x 28 is 21 x 42, which becomes 14 x 28.
    assert record.training_focal == pytest.approx((90.0 + 96.0) / 2 * 28 / 42)
    assert f"focal length of its crops is {record.training_focal:.1f} pixels" in record.description
    camera = Camera(42, 21, 90.0, 96.0, 20.5, 10.5)
    assert focal_gain(camera, SIZE, record.training_focal) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("sources", "smallest_crop", "sizes", "expected"),
    [
        (["learned"], 1.0, [SIZE], 62.0),
        (["learned"], 0.8, [SIZE], 69.0),  # enlarged by 1 to 1.25, 1.11 in the mean
        (["learned"], 0.3, [SIZE], "the focal lengths of the crops range from 6. to 1.. pixels, too far apart"),
        (["learned"], 1.0, [SIZE, (28, 42)], "the focal lengths of the crops range from 62 to 93 pixels"),
        (["learned", "other_lens"], 1.0, [SIZE], "the focal lengths of the crops range from 62 to 267 pixels"),
        (
            ["learned", "lensless"],
            1.0,
            [SIZE],
            r"\d+ of 64 crops have no known focal length, .*`export --tra",
        ),
    ],
)
def test_training_focal_depends_on_sources_and_crops(shards, caplog, sources, smallest_crop, sizes, expected):
    values = values_of("metric", [shards[name] for name in sources], smallest_crop=smallest_crop)
    values["data"]["sizes"], values["optimizer"]["steps"] = sizes, 200
    configuration = StageConfiguration.from_dictionary(values)
    with caplog.at_level(logging.WARNING):
        found = training_focal(configuration, open_data(configuration).samples)
    if isinstance(expected, float):
        assert found == pytest.approx(expected, rel=0.02)
        assert not caplog.messages
    else:
        assert found is None
        assert re.search(expected, caplog.text)


# ---- going on


def test_run_resumes_under_other_mount_and_license(shards, tmp_path, capsys):
    """Versions tell what was trained on, not places nor what is said of it."""
    here, weights = Path(shutil.copytree(shards["learned"], tmp_path / "here")), tmp_path / "start.safetensors"
    _, result = train(tmp_path / "earlier", values_of("teacher", [shards["one"]]))
    shutil.copy(result["checkpoint"], weights)
    values = values_of("teacher", [str(here)])
    values["network"]["start"] = str(weights)
    folder, _ = train(tmp_path / "stage", values)
    before = sorted((folder / "states").iterdir())
    (tmp_path / "mount").mkdir()
    values["data"]["labeled"] = [{"shards": str(here.rename(tmp_path / "mount" / "there"))}]
    values["network"]["start"] = str(weights.rename(tmp_path / "moved.safetensors"))
    values["license"] = "CC-BY-4.0"
    train(tmp_path / "stage", values)
    assert json.loads((folder / "run.json").read_text())[-1]["from_step"] == 2
    assert sorted((folder / "states").iterdir()) == before
    values["data"]["labeled"] = [{"shards": shards["other_lens"]}]
    train(tmp_path / "stage", values, status=1)
    assert "of other data (sources.labeled was " in capsys.readouterr().err


def test_state_of_earlier_release_with_paths_resumes(shards, tmp_path):
    from depth_anything_ros.training.run.checkpoints import Checkpoints, load_state, save_state

    values = values_of("teacher", [shards["learned"]])
    folder, _ = train(tmp_path, values)
    (newest,) = Checkpoints(folder / "states", 9).paths()[-1:]
    state = load_state(newest)
    fingerprint = json.loads(state["fingerprint"])
    assert "license" not in fingerprint
    fingerprint |= {"license": "unknown", "teacher": None}
    fingerprint["data"] |= {"labeled": [{"shards": "elsewhere"}], "unlabeled": []}
    fingerprint["network"]["start"] = "tiny"
    save_state(newest, {**state, "fingerprint": json.dumps(fingerprint)})
    train(tmp_path, values)


def test_resume_with_other_images_taken_out_is_rejected(shards, tmp_path, capsys):
    values = values_of("teacher", [shards["learned"]], (shards["learned"],), overlap="take_out", validation_images=3)
    folder, _ = train(tmp_path, values)
    assert "9, 3 taken out" in capsys.readouterr().out
    train(tmp_path, values)
    values["data"]["validation_images"] = 4
    train(tmp_path, values, status=1)
    assert "without 4 of its images" in capsys.readouterr().err
    assert folder.is_dir()
