"""Validation images: divided and scored by source, skipped if damaged, and NaN is never the best."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the `train` extra")
pytest.importorskip("lightning_fabric", reason="training needs the `train` extra")

from lightning_fabric import Fabric  # noqa: E402

from depth_anything_ros.data.depth_files import Picture  # noqa: E402
from depth_anything_ros.data.depth_set import DepthSet  # noqa: E402
from depth_anything_ros.data.frame import DataError, LabeledImage  # noqa: E402
from depth_anything_ros.data.set_source import SetSource  # noqa: E402
from depth_anything_ros.data.shard_source import ShardSource  # noqa: E402
from depth_anything_ros.data.shards import pack  # noqa: E402
from depth_anything_ros.data.sources import Sample  # noqa: E402
from depth_anything_ros.data.tar_members import tar_members  # noqa: E402
from depth_anything_ros.training.input.pixels import normalize_pixels  # noqa: E402
from depth_anything_ros.training.nominal_scale import nominal_scale, weights_of  # noqa: E402
from depth_anything_ros.training.validation.choice import choose, shares  # noqa: E402
from depth_anything_ros.training.validation.predictions import DepthScoring, input_size, is_better  # noqa: E402
from depth_anything_ros.training.validation.scorer import Validation, distinct  # noqa: E402

SIZE = (28, 42)


def depth_set(name: str, camera: tuple[float, float, float, float] | None = None) -> DepthSet:
    return DepthSet(
        *(name, name, "", "", "{frame}.png"),
        depths="depth/{frame}.png",
        read_depth=Picture(0.01),
        camera=camera,
    )


def write(root: Path, count: int, depths=None) -> Path:
    """Write noise images, each with a depth of ``depths`` meters, or noise between 1 and 9."""
    generator = np.random.default_rng(count)
    (root / "depth").mkdir(parents=True)
    for number in range(count):
        cv2.imwrite(str(root / f"{number:03d}.png"), generator.integers(0, 256, (*SIZE, 3), np.uint8))
        stored = generator.integers(100, 900, SIZE) if depths is None else np.full(SIZE, 100 * depths)
        cv2.imwrite(str(root / "depth" / f"{number:03d}.png"), stored.astype(np.uint16))
    return root


def packed(root: Path, name: str, per_shard: int = 4) -> Path:
    shards = root.with_name(f"{root.name}_shards")
    with ThreadPoolExecutor(1) as executor:
        list(pack(depth_set(name), root, shards, per_shard, executor))
    return shards


class Constant(torch.nn.Module):
    """A network with the same output for every pixel."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.full((len(images), *images.shape[-2:]), self.value)


def validation(sources, count: int, scoring=None) -> Validation:
    return Validation(sources, count, SIZE, scoring or DepthScoring(), Fabric(accelerator="cpu", devices=1))


@pytest.mark.parametrize(
    ("sizes", "count", "expected"),
    [
        ([92_750, 654], 256, [128, 128]),
        ([92_750, 30], 256, [226, 30]),
        ([10, 1000, 1000], 256, [10, 123, 123]),
        ([7], 64, [7]),
        ([5, 5], 3, [2, 1]),
        ([2, 3, 4], 100, [2, 3, 4]),
    ],
)
def test_shares_are_equal_over_sources(sizes, count, expected):
    assert shares(sizes, count) == expected


def test_validation_images_are_evenly_spaced_in_source(tmp_path):
    sources = [SetSource(depth_set(name), write(tmp_path / name, count)) for name, count in (("a", 9), ("b", 4))]
    assert choose(sources, 6) == {0: [0, 3, 6], 1: [0, 1, 2]}
    assert validation(sources, 6).counts == [3, 3]


def test_scores_are_means_over_sources(tmp_path):
    """Meters that are right for one image of one source, and wrong for six of another."""
    few = SetSource(depth_set("few"), write(tmp_path / "few", 1, 2.0))
    many = SetSource(depth_set("many"), write(tmp_path / "many", 6, 20.0))
    images = validation([few, many], 7, DepthScoring(max_depth=80.0, size=SIZE))
    scores, by_source, picture = images.score(Constant(2.0))
    assert by_source == {"few": {"abs_rel": 0.0, "delta1": 1.0}, "many": {"abs_rel": pytest.approx(0.9), "delta1": 0.0}}
    assert scores == {"abs_rel": pytest.approx(0.45), "delta1": 0.5}
    assert picture.shape[2] == 3


def test_sources_of_equal_name_get_distinct_names():
    assert distinct(["a", "b", "a", "a"]) == ["a", "b", "a 2", "a 3"]


def damage(shards: Path, frame: str) -> None:
    for shard in shards.glob("*.tar"):
        if place := tar_members(shard).get(f"{frame}%2Epng.png"):
            with shard.open("r+b") as file:
                file.seek(place[0])
                file.write(b"x" * place[1])


def test_damaged_image_is_skipped_and_named(tmp_path, caplog):
    shards = packed(write(tmp_path / "a", 6), "a")
    whole = validation([ShardSource(shards)], 6)
    damage(shards, "003")
    with caplog.at_level(logging.WARNING):
        images = validation([ShardSource(shards)], 6)
    assert (images.counts, images.left_out, whole.left_out) == ([5], 1, 0)
    (message,) = caplog.messages
    assert message.startswith("validation image left out: ")
    assert "003%2Epng.png is not a picture" in message
    assert images.described != whole.described  # what was best on others is not best on these
    assert [sample.name.split("/")[1] for _, sample in images.samples_of_all()] == [
        f"{number:03d}%2Epng" for number in (0, 1, 2, 4, 5)
    ]
    images.score(Constant(1.0))
    assert len(caplog.messages) == 1


def test_source_without_scorable_images_is_rejected(tmp_path):
    shards = packed(write(tmp_path / "a", 1), "a")
    damage(shards, "000")
    whole = SetSource(depth_set("b"), write(tmp_path / "b", 2))
    with pytest.raises(DataError, match="no sample of a has depth or classes"):
        validation([whole, ShardSource(shards)], 4)


def sample(depth: np.ndarray, **changes) -> Sample:
    with np.errstate(divide="ignore"):
        return replace(Sample("a", np.zeros((*depth.shape, 3), np.uint8), (1 / depth).astype(np.float32)), **changes)


def test_depth_beyond_network_range_is_not_scored():
    """As the stage metric does not learn from it."""
    near = sample(np.float32([[5, 10, 20, 40], [5, 10, 20, 80]]))
    scoring, prediction = DepthScoring(max_depth=20.0, size=(2, 4)), np.float32([[5, 10, 20, 20], [5, 10, 20, 20]])
    assert scoring.tally(prediction, near).tolist() == [0.0, 1.0]
    assert DepthScoring(max_depth=100.0, size=(2, 4)).tally(prediction, near)[1] == 0.75
    assert scoring.can_score(near)
    assert not scoring.can_score(sample(np.full((2, 4), 20.5, np.float32)))
    assert not scoring.can_score(sample(np.full((2, 4), np.inf, np.float32)))
    edge = np.linspace(0.5, 80, 4000, dtype=np.float32).reshape(40, 100)
    assert DepthScoring(max_depth=80.0, size=(28, 42)).tally(edge, sample(edge)).tolist() == pytest.approx(
        [0, 1], abs=1e-6
    )


def test_meters_are_scored_with_focal_length_of_image():
    """As the node and `evaluate` multiply them: f of the image at the network's size by f of training."""
    truth = sample(np.full((280, 420), 10.0, np.float32), focal=(300.0, 300.0))
    size = input_size((280, 420), SIZE)
    assert size == (28, 42)
    scoring = DepthScoring(max_depth=80.0, size=SIZE, training_focal=60.0)
    assert scoring.tally(np.full((280, 420), 20.0, np.float32), truth).tolist() == pytest.approx([0.0, 1.0])
    unknown = replace(truth, focal=None)
    assert scoring.tally(np.full((280, 420), 10.0, np.float32), unknown).tolist() == pytest.approx([0.0, 1.0])
    far = sample(np.float32([[50.0] * 42] * 28), focal=(30.0, 30.0))
    assert not scoring.can_score(far)  # the network ends at 80 m, which with this lens are 40


def test_nan_scores_are_never_the_best(tmp_path):
    good, nan = {"delta1": 0.5}, {"delta1": float("nan")}
    assert is_better(good, None, "delta1")
    assert not is_better(nan, None, "delta1")
    assert not is_better(nan, good, "delta1")
    assert is_better({"delta1": 0.6}, good, "delta1")
    assert is_better(good, good, "delta1")  # of two that score alike, the later one
    assert not is_better({"delta1": 0.4}, good, "delta1")
    images = validation([SetSource(depth_set("a"), write(tmp_path / "a", 2))], 2)
    scores, _, _ = images.score(Constant(float("nan")))
    assert np.isnan(scores["delta1"])
    assert not is_better(scores, None, "delta1")


def test_nominal_scale_weighs_sources_equally():
    """Nine images of one source, one each of two others that have another scale."""
    assert weights_of([0, 1, 1, 1]).tolist() == pytest.approx([1 / 2, 1 / 6, 1 / 6, 1 / 6])

    class Brightness(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean(dim=1) + 3.0

    def frame(source: int, seed: int) -> LabeledImage:
        image = np.random.default_rng(seed).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
        output = Brightness()(normalize_pixels(torch.from_numpy(image)[None]))[0].numpy()
        return LabeledImage(f"{source}/{seed}", image, (1 / ((0.1, 0.9)[source] * output)).astype(np.float32))

    which = [0] * 9 + [1, 2]
    frames = [frame(min(source, 1), seed) for seed, source in enumerate(which)]
    assert nominal_scale(Brightness(), frames, SIZE)[0] == pytest.approx(0.1, rel=0.1)  # of nine images of eleven
    assert nominal_scale(Brightness(), frames, SIZE, which)[0] == pytest.approx(0.9, rel=0.1)  # of two sources of three
