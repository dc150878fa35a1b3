"""The record survives the way through JSON, and a malformed one is refused with the field's name."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depth_anything_ros.zoo.record import INPUTS, OUTPUTS, ModelFile, ModelRecord, RecordError

MINIMAL = {"name": "m", "output": "depth", "licence": "MIT"}

positive = st.floats(1e-3, 1e4)
triples = st.tuples(positive, positive, positive)
sizes = st.tuples(st.integers(1, 4096), st.integers(1, 4096))
files = st.builds(
    ModelFile, name=st.text(min_size=1), sha256=st.none() | st.text("0123456789abcdef"), size=st.none() | sizes
)
records = st.builds(
    ModelRecord,
    name=st.text(min_size=1),
    output=st.sampled_from(OUTPUTS),
    licence=st.text(),
    encoder=st.none() | st.text(),
    version=st.none() | st.sampled_from(("v1", "v2")),
    max_depth=st.none() | positive,
    training_focal=st.none() | positive,
    input=st.sampled_from(INPUTS),
    input_size=sizes,
    input_multiple=st.integers(1, 64),
    mean=triples,
    std=triples,
    nominal_scale=st.none() | st.tuples(positive, positive),
    confidence=st.none() | st.text(min_size=1),
    repository=st.none() | st.text(),
    files=st.lists(files).map(tuple),
    description=st.text(),
)


@given(records)
def test_json_keeps_every_field(record):
    assert ModelRecord.from_json(record.to_json()) == record


@given(records)
def test_file_keeps_every_field(tmp_path_factory, record):
    path = tmp_path_factory.getbasetemp() / "record.json"
    path.write_text(record.to_json())
    assert ModelRecord.read(path) == record


def test_older_releases_read_a_record_without_confidence():
    assert "confidence" not in json.loads(ModelRecord(**MINIMAL).to_json())


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_any_other_text_is_refused(text):
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
        ({"input_size": [0, 14]}, "input_size and input_multiple must be positive"),
        ({"confidence": ""}, "confidence is '', must name an output"),
        ({"confidence": 1}, "confidence is 1, must name an output"),
        ({"input_multiple": 0}, "input_size and input_multiple must be positive"),
        ({"maximum_depth": 3}, "unknown fields: maximum_depth"),
        ({"files": [{}]}, "'m' is malformed"),
        ({"files": ["m.onnx"]}, "'m' is malformed"),
        ({"std": 3}, "'m' is malformed"),
    ],
)
def test_malformed_fields_are_named(change, message):
    with pytest.raises(RecordError, match=message):
        ModelRecord.from_json(json.dumps(MINIMAL | change))


@pytest.mark.parametrize("field", MINIMAL)
def test_required_fields(field):
    with pytest.raises(RecordError, match=f"lacks: {field}"):
        ModelRecord.from_json(json.dumps({key: value for key, value in MINIMAL.items() if key != field}))


def test_errors_of_a_file_name_the_file(tmp_path):
    with pytest.raises(RecordError, match=r"cannot read record .*absent\.json"):
        ModelRecord.read(tmp_path / "absent.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(RecordError, match=r"bad\.json: record is not valid JSON"):
        ModelRecord.read(tmp_path / "bad.json")


def test_lists_become_tuples_so_that_records_compare():
    record = ModelRecord.from_json(
        json.dumps(MINIMAL | {"mean": [0, 0, 0], "files": [{"name": "a", "size": [14, 28]}]})
    )
    assert record == ModelRecord(**MINIMAL, mean=(0, 0, 0), files=(ModelFile("a", None, (14, 28)),))
    assert dataclasses.replace(record, output="inverse_depth").is_metric is False
    assert record.is_metric is True
