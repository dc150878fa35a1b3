"""Protocol files: what they fix, how they refuse mistakes, and a perfect predictor under each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from miniature_scored import SCORED

from depth_anything_ros.data.frame import DataError, LabeledImage
from depth_anything_ros.data.listed_set import ListedSet
from depth_anything_ros.evaluation.predictions import ScoredModel, unsuitable
from depth_anything_ros.evaluation.protocol import FARTHEST, Alignment, Protocol, Published, SetRules
from depth_anything_ros.evaluation.protocol_files import (
    FOLDER,
    ProtocolError,
    check_options,
    find_protocol,
    protocol_names,
    read_protocol,
)
from depth_anything_ros.evaluation.results import Row
from depth_anything_ros.evaluation.scored_sets import SCORED_SETS, EvaluationSet, find_sets
from depth_anything_ros.evaluation.scoring import score_models

ALIGNED = [(name, set_name) for name in ("paper", "moge") for set_name in find_protocol(name).sets]
CASES = [*ALIGNED, *(("metric", set_name) for set_name in find_protocol("metric").sets)]


def put_set(root: Path, set_name: str, protocol: str) -> EvaluationSet:
    """Write the miniature of a set, with the list of its split, and find it."""
    expected = SCORED[set_name](root / set_name)
    split = small(protocol).rules(set_name).split
    if split.file is not None:
        lines = [f"{frame.name} truth.png 721.5" for frame in expected]
        (root / set_name / split.file).write_text("\n".join([*lines, "2011_09_28/absent.png None 721.5"]))
    (found,) = find_sets(root, [set_name], protocol=small(protocol))
    return found


def small(name: str) -> Protocol:
    """A protocol with views of an eighth of their size, because miniatures are small and tests quick."""
    protocol = find_protocol(name)
    sets = {
        set_name: rules if rules.resize is None else replace(rules, resize=tuple(side // 8 for side in rules.resize))
        for set_name, rules in protocol.sets.items()
    }
    return replace(protocol, sets=sets)


def predictor(frames: list[LabeledImage], change: Callable[[np.ndarray], np.ndarray]) -> Callable:
    """A model that knows the truth of each image, and of its mirror image; it fills what is unknown."""
    known = {}
    for frame in frames:
        values = change(np.where(frame.valid, frame.depth, 5.0).astype(np.float64))
        known[frame.image.tobytes()] = values
        known[np.ascontiguousarray(frame.image[:, ::-1]).tobytes()] = values[:, ::-1]
    return lambda image: known[image.tobytes()]


def scored(root: Path, protocol: str, set_name: str, change: Callable, output: str) -> list[Row]:
    """The rows of the predictor on a miniature."""
    declared = put_set(root, set_name, protocol)
    frames = [declared.read(root, name) for name in declared.frame_names(root)]
    model = ScoredModel("made", predictor(frames, change), output)
    return score_models([model], frames, small(protocol).rules(set_name))


@pytest.mark.parametrize(("protocol", "set_name"), CASES)
def test_perfect_predictor_is_perfect(tmp_path, protocol, set_name):
    for row in scored(tmp_path, protocol, set_name, lambda depth: depth, "depth"):
        assert len(row.images) >= 2
        assert row.scores.abs_rel == pytest.approx(0, abs=1e-6)
        assert (row.scores.delta1, row.scores.delta3) == (1, 1)


@pytest.mark.parametrize(("protocol", "set_name"), CASES)
def test_distorted_depth_has_its_closed_form_error(tmp_path, protocol, set_name):
    """Meters too near by 10 %: without alignment all errors follow from the factor; alignment removes it."""
    row, *_ = scored(tmp_path, protocol, set_name, lambda depth: 0.9 * depth, "depth")
    assert row.aligned == (protocol != "metric")
    assert row.scores.abs_rel == pytest.approx(0.0 if row.aligned else 0.1, abs=1e-6)
    assert row.scores.log10 == pytest.approx(0.0 if row.aligned else -np.log10(0.9), abs=1e-6)
    assert row.scores.silog == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize(("protocol", "set_name"), ALIGNED)
def test_relative_prediction_up_to_scale_and_shift_is_perfect(tmp_path, protocol, set_name):
    (row,) = scored(tmp_path, protocol, set_name, lambda depth: 40 / depth + 3, "inverse_depth")
    assert row.scores.abs_rel == pytest.approx(0, abs=1e-6)


def test_frames_are_checked_against_split(tmp_path):
    declared = put_set(tmp_path, "kitti", "paper")
    names = declared.frame_names(tmp_path)
    assert len(names) == 3
    assert declared.missing(tmp_path, names) == [
        "kitti has 3 frames, split 'Eigen test with annotated depth' has 652: the scores are not comparable with "
        "published ones"
    ]
    listing = tmp_path / "kitti" / "eigen_test_files_with_gt.txt"
    listing.write_text(f"{names[0]} x 1\n2011_09_28/absent.png x 1\n")  # an absent frame, and two extra ones on disk
    assert declared.frame_names(tmp_path) == names[:1]
    texts = declared.missing(tmp_path, names[:1])
    assert texts[0] == "kitti: 2011_09_28/absent.png of eigen_test_files_with_gt.txt has no image with depth"
    listing.unlink()
    with pytest.raises(DataError, match=r"eigen_test_files_with_gt\.txt is missing: the protocol scores the frames"):
        declared.frame_names(tmp_path)
    listing.write_text("other.png x 1\n")
    with pytest.raises(DataError, match="has none of the frames that"):
        declared.frame_names(tmp_path)


def test_protocols_are_those_of_the_papers():
    assert protocol_names()[:2] == ("full", "published")
    paper, moge, metric = (find_protocol(name) for name in ("paper", "moge", "metric"))
    assert paper.rules("kitti").crop == ("garg",)
    assert paper.rules("kitti").input_crop == "kitti_benchmark"
    assert paper.rules("kitti").depth_range == (1e-3, 80)
    assert paper.rules("kitti").split.count == 652
    assert paper.rules("nyuv2_labeled").split.count == 654
    assert paper.rules("nyuv2_labeled").depth_range == (1e-3, 10)
    assert {rules.alignment for rules in paper.sets.values()} == {Alignment("inverse_depth", "scale_and_shift")}
    assert all(rules.floor == FARTHEST for rules in moge.sets.values())
    assert moge.published[0].models["depth_anything_v2_vitl"]["moge_eth3d"] == (0.0473,)
    assert all(rules.flip and rules.alignment.method == "none" for rules in metric.sets.values())
    assert set(paper.published[0].notes) == {"sintel", "ddad", "eth3d", "diode"}
    for name in protocol_names():
        assert find_protocol(name).title


GOOD = """title: made
defaults:
  alignment: {space: depth, method: scale}
sets:
  here: {max_depth: 5, alignment: {fit: robust}}
published:
  - {source: a paper, tolerance: 0.05, measures: [abs_rel], models: {tiny: {here: [0.1]}}}
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("max_depth", "max_dept", r"sets\.here has the unknown key 'max_dept': did you mean max_depth.*valid keys are"),
        ("fit: robust", "fitt: robust", r"sets\.here\.alignment has the unknown key 'fitt'"),
        ("method: scale", "method: scales", r"alignment\.method is 'scales', must be none, median, scale or"),
        ("max_depth: 5", "max_depth: far", r"sets\.here\.max_depth is 'far', which has the wrong type"),
        ("title: made", "titel: made", "the file has the unknown key 'titel'"),
        ("title: made", "averaging: [pixels]", r"averaging is \['pixels'\], must be .*never over pixels"),
        ("title: made", "title: made\ntask: depht", "task is 'depht', must be depth, pairs"),
        ("{here: [0.1]}", "{there: [0.1]}", "has numbers for there, which it does not score"),
        ("{here: [0.1]}", "{here: [0.1, 0.9]}", r"published\.models\.tiny\.here needs 1 numbers"),
        ("max_depth: 5", "crop: [grag]", "crop is 'grag', must be garg"),
        ("max_depth: 5", "floor: nearest", "floor is 'nearest', must be farthest or a number"),
        ("max_depth: 5", "floor: -1", r"floor is -1.0, must be positive"),
        ("max_depth: 5", "clip: true", "clip needs min_depth and max_depth"),
        ("max_depth: 5", "resize: [640]", r"resize is \[640\], which has the wrong type"),
        ("sets:", "sets: [here]\nother:", "unknown key 'other'"),
    ],
)
def test_mistakes_in_files_are_named(tmp_path, old, new, message):
    path = tmp_path / "made.yaml"
    path.write_text(GOOD)
    good = read_protocol(path)
    assert good.rules("here").alignment == Alignment("depth", "scale", "robust")
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(ProtocolError, match=message) as caught:
        read_protocol(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_protocol_and_set_are_named():
    with pytest.raises(ProtocolError, match=r"protocol is 'papr', must be full, .*: did you mean paper"):
        find_protocol("papr")
    with pytest.raises(DataError, match="protocol paper does not score tum; its sets are kitti, nyuv2_labeled"):
        find_protocol("paper").rules("tum")
    assert all(path.name == f"{find_protocol(path.stem).name}.yaml" for path in FOLDER.glob("*.yaml"))


def test_options_cannot_change_what_a_protocol_fixes():
    check_options(find_protocol("full"), {"--limit": 3})
    check_options(find_protocol("paper"), {"--limit": None})
    with pytest.raises(ProtocolError, match="protocol paper fixes its frames, truth and cameras: leave out --limit"):
        check_options(find_protocol("paper"), {"--limit": 3})


def gaps(root: Path, protocol: Protocol) -> list[str]:
    """What a set of a protocol lacks: a reader, a miniature that it reads, a check of its split."""
    published = {name for item in protocol.published for sets in item.models.values() for name in sets}
    found = []
    for name in protocol.sets:
        if name not in SCORED:
            found.append(f"{name} has no miniature")
            continue
        SCORED[name](root / name)
        split = protocol.rules(name).split
        try:
            (declared,) = find_sets(root, [name], protocol=protocol)
            if split.file is None:
                names = declared.frame_names(root)
                assert declared.read(root, names[0]).image.size
        except DataError as error:
            found.append(f"{name}: {error}")
            continue
        has_check = split.count or split.sequences or split.file or isinstance(declared.source, ListedSet)
        if name in published and not has_check:
            found.append(f"{name} has published numbers and no check of its split")
    return found


@pytest.mark.parametrize("protocol", [find_protocol(name) for name in protocol_names() if find_protocol(name).sets])
def test_every_set_of_a_protocol_has_reader_miniature_and_split(tmp_path, protocol):
    if protocol.is_open:
        assert set(protocol.sets) <= set(SCORED_SETS)
    else:
        assert gaps(tmp_path, protocol) == []


def test_gaps_of_a_protocol_are_found(tmp_path):
    number = {"m": {"tum_rgbd": (0.1,), "diode": (0.1,)}}
    made = Protocol(
        name="made",
        title="made",
        sets=dict.fromkeys(("tum_rgbd", "ade20k", "diode", "sintel"), SetRules()),
        published=(Published("a paper", 0.05, ("abs_rel",), number),),
    )
    assert gaps(tmp_path, made) == [
        "tum_rgbd has no miniature",
        "ade20k: protocol made scores ade20k, which has no reader for depth",
        "diode has published numbers and no check of its split",
    ]


@pytest.mark.parametrize("name", [name for name in protocol_names() if find_protocol(name).published])
def test_published_numbers_have_source_and_tolerance(name):
    for item in find_protocol(name).published:
        assert "arXiv" in item.source or "ICCV" in item.source
        assert 0 < item.tolerance <= 0.05
        assert item.models


def test_absent_sets_are_named(tmp_path):
    moge = find_protocol("moge")
    with pytest.raises(DataError, match="has none of the folders of protocol moge: moge_nyuv2, moge_kitti"):
        find_sets(tmp_path, protocol=moge)
    with pytest.raises(DataError, match="protocol moge does not score tum"):
        find_sets(tmp_path, ["tum"], protocol=moge)
    with pytest.raises(DataError, match="sintel is not under --data"):
        find_sets(tmp_path, ["sintel"], protocol=find_protocol("paper"))


def test_models_that_a_protocol_cannot_score_are_named():
    metric = find_protocol("metric").rules("kitti")
    relative, meters = (ScoredModel("m", lambda image: image, output) for output in ("inverse_depth", "depth"))
    assert unsuitable(relative, metric) == "m predicts no meters, and the protocol does not align"
    assert unsuitable(meters, metric) is None
    assert unsuitable(relative, find_protocol("full").rules("tum")) is None
    affine = ScoredModel("m", lambda image: image, "depth", is_metric=False, has_unknown_shift=True)
    assert unsuitable(affine, find_protocol("full").rules("tum")).startswith("m predicts depth of unknown shift")
    depth = replace(metric, alignment=replace(metric.alignment, space="depth", method="scale_and_shift"))
    assert unsuitable(affine, depth) is None
