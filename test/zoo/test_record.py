"""The record keeps its fields through JSON, and a malformed one is rejected with the field's name."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depth_anything_ros.zoo.record import INPUTS, SCALES, ModelFile, ModelRecord, RecordError, name_from

MINIMAL = {"name": "m", "output": "depth", "license": "MIT"}

positive = st.floats(1e-3, 1e4)
triples = st.tuples(positive, positive, positive)
sizes = st.tuples(st.integers(1, 4096), st.integers(1, 4096))
names = st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,100}", fullmatch=True)
files = st.builds(
    ModelFile,
    name=st.lists(names, min_size=1, max_size=3).map("/".join),
    sha256=st.none() | st.text("0123456789abcdef"),
    size=st.none() | sizes,
)
scales = st.one_of(
    st.sampled_from([{"output": "inverse_depth"}, {"output": "depth"}]),
    st.sampled_from([{"output": output, "scale": scale} for scale, output in SCALES.items()]),
    positive.map(lambda focal: {"output": "depth", "scale": "metric", "training_focal": focal}),
    positive.map(lambda focal: {"output": "depth", "canonical_focal": focal}),
)
records = st.builds(
    lambda scale, **rest: ModelRecord(**scale, **rest),
    scale=scales,
    name=names,
    license=st.text(),
    encoder=st.none() | st.text(),
    version=st.none() | st.sampled_from(("v1", "v2")),
    max_depth=st.none() | positive,
    input=st.sampled_from(INPUTS),
    input_size=sizes,
    input_multiple=st.integers(1, 64),
    mean=triples,
    std=triples,
    nominal_scale=st.none() | st.tuples(positive, st.just(0.0)),
    scale_rate=st.none() | positive,
    confidence=st.none() | st.text(min_size=1),
    repository=st.none() | st.text(),
    files=st.lists(files).map(tuple),
    description=st.text(),
)


@given(records)
def test_record_round_trip_through_json_keeps_every_field(record):
    assert ModelRecord.from_json(record.to_json()) == record


@given(records)
def test_record_round_trip_through_file_keeps_every_field(tmp_path_factory, record):
    path = tmp_path_factory.getbasetemp() / "record.json"
    path.write_text(record.to_json())
    assert ModelRecord.read(path) == record


def test_record_omits_new_fields_with_default_values():
    assert not {"confidence", "scale", "canonical_focal", "scale_rate"} & set(
        json.loads(ModelRecord(**MINIMAL).to_json())
    )


@pytest.mark.parametrize(
    ("told", "scale_model", "reference"),
    [
        ({"output": "inverse_depth"}, "inverse_affine", None),
        ({"output": "inverse_depth", "training_focal": None}, "inverse_affine", None),
        ({"output": "depth"}, "metric", None),
        ({"output": "depth", "training_focal": 598.1}, "metric", 598.1),
        ({"output": "depth", "scale": "metric", "canonical_focal": 300}, "metric", 300),
        ({"output": "depth", "scale": "depth_scale", "training_focal": 500.0}, "depth_scale", None),
        ({"output": "depth", "scale": "depth_affine"}, "depth_affine", None),
    ],
)
def test_record_fields_give_scale_model_and_reference_focal(told, scale_model, reference):
    record = ModelRecord.from_json(json.dumps(MINIMAL | told))
    assert record.scale_model == scale_model
    assert record.reference_focal == reference
    assert record.is_metric == (scale_model == "metric")
    assert record.predicts_depth == (told["output"] == "depth")


@pytest.mark.parametrize(
    "name", ["../../escape", "a/b", "..", ".", ".hidden", "", "a b", "a\nb", "a\0", "C:\\x", "é", 7, None, "x" * 200]
)
def test_invalid_record_name_raises(name):
    with pytest.raises(RecordError, match="a name may hold letters"):
        ModelRecord.from_json(json.dumps(MINIMAL | {"name": name}))


@pytest.mark.parametrize(
    "name", ["../x.onnx", "/etc/passwd", "a/../../x", "..", "", ".", "a\\..\\x", "C:/x", "a\nb", "x\0", None, 3]
)
def test_record_file_outside_folder_raises(name):
    with pytest.raises(RecordError, match="must be a relative path without"):
        ModelRecord.from_json(json.dumps(MINIMAL | {"files": [{"name": name}]}))


@given(st.text())
def test_name_from_any_text_is_valid(text):
    assert ModelRecord(**MINIMAL | {"name": name_from(text)}).name == name_from(text)
    if re.fullmatch(r"[a-z][a-z0-9_.-]{0,100}", text):
        assert name_from(text) == text


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_text_that_is_no_record_raises(text):
    with pytest.raises(RecordError):
        ModelRecord.from_json(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"output": "disparity"}, "output is 'disparity', must be one of"),
        ({"input": "bgr"}, "input is 'bgr', must be one of"),
        ({"mean": [0.5]}, "mean has 1 values, must have 3"),
        ({"std": [1, 1, 0]}, "std is .* must be positive"),
        ({"nominal_scale": [1, 2, 3]}, "nominal_scale has 3 values, must have 2"),
        ({"mean": None}, "mean has 0 values, must have 3"),
        ({"input_size": None}, "input_size has 0 values, must have 2"),
        ({"input_size": [0, 14]}, "input_size and input_multiple must be positive"),
        ({"input_size": [518.5, 518]}, "input_size and input_multiple must be positive integers"),
        ({"input_multiple": 14.0}, "input_size and input_multiple must be positive integers"),
        ({"input_multiple": "14"}, "input_size and input_multiple must be positive integers"),
        ({"input_multiple": True}, "input_size and input_multiple must be positive integers"),
        ({"scale": "meters"}, "scale is 'meters', must be one of"),
        ({"scale": ""}, "scale is '', must be one of"),
        ({"scale": "inverse_affine"}, "scale 'inverse_affine' belongs to 'inverse_depth', output is 'depth'"),
        ({"output": "inverse_depth", "scale": "metric"}, "scale 'metric' belongs to 'depth'"),
        ({"training_focal": 0}, "training_focal is 0, must be a positive finite number"),
        ({"training_focal": "600"}, "training_focal is '600', must be a positive"),
        ({"training_focal": float("nan")}, "training_focal is nan, must be a positive"),
        ({"canonical_focal": -300}, "canonical_focal is -300, must be a positive"),
        ({"canonical_focal": float("inf")}, "canonical_focal is inf, must be a positive"),
        ({"max_depth": True}, "max_depth is True, must be a positive"),
        ({"scale_rate": 0}, "scale_rate is 0, must be a positive"),
        ({"scale_rate": float("inf")}, "scale_rate is inf, must be a positive"),
        ({"canonical_focal": 300, "training_focal": 598}, "has both training_focal and canonical_focal"),
        ({"scale": "depth_scale", "canonical_focal": 300}, "canonical_focal belongs to scale 'metric'"),
        ({"scale": "depth_scale", "nominal_scale": [1, 1]}, "its second value must be 0"),
        ({"nominal_scale": [0, 0]}, r"nominal_scale is \(0, 0\), its first value must be positive"),
        ({"output": "inverse_depth", "nominal_scale": [-1, 0.1]}, "its first value must be positive"),
        ({"nominal_scale": [1, float("nan")]}, "nominal_scale is .* must be finite numbers"),
        ({"mean": [0, 0, "0"]}, "mean is .* must be finite numbers"),
        ({"confidence": ""}, "confidence is '', must be the name of an output"),
        ({"confidence": 1}, "confidence is 1, must be the name of an output"),
        ({"input_multiple": 0}, "input_size and input_multiple must be positive"),
        ({"maximum_depth": 3}, "unknown fields: maximum_depth"),
        ({"files": [{}]}, "'m' is malformed"),
        ({"files": [{"name": "m.onnx", "sha265": "ab"}]}, "'m' is malformed: .*sha265"),
        ({"files": [{"name": "m.onnx", "sha256": 5}]}, "the sha256 of m.onnx is 5, must be text"),
        (
            {"files": [{"name": "m.onnx", "size": [14]}]},
            r"the size of m.onnx is \(14,\), must be two positive integers",
        ),
        ({"files": [{"name": "m.onnx", "size": [-14, 28]}]}, "the size of m.onnx is .*, must be two positive integers"),
        ({"files": [{"name": "m.onnx", "size": ["a", 28]}]}, "the size of m.onnx is .*, must be two positive integers"),
        ({"files": ["m.onnx"]}, "'m' is malformed"),
        ({"std": 3}, "'m' is malformed"),
    ],
)
def test_malformed_record_field_is_named(change, message):
    with pytest.raises(RecordError, match=message):
        ModelRecord.from_json(json.dumps(MINIMAL | change))


@pytest.mark.parametrize("field", MINIMAL)
def test_missing_required_field_is_named(field):
    with pytest.raises(RecordError, match=f"has no {field}"):
        ModelRecord.from_json(json.dumps({key: value for key, value in MINIMAL.items() if key != field}))


def test_record_file_error_names_file(tmp_path):
    with pytest.raises(RecordError, match=r"cannot read record .*absent\.json"):
        ModelRecord.read(tmp_path / "absent.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(RecordError, match=r"bad\.json: record is not valid JSON"):
        ModelRecord.read(tmp_path / "bad.json")


def test_record_lists_become_tuples():
    record = ModelRecord.from_json(
        json.dumps(MINIMAL | {"mean": [0, 0, 0], "files": [{"name": "a", "size": [14, 28]}]})
    )
    assert record == ModelRecord(**MINIMAL, mean=(0, 0, 0), files=(ModelFile("a", None, (14, 28)),))
    assert dataclasses.replace(record, output="inverse_depth").is_metric is False
    assert record.is_metric is True
