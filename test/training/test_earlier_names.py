"""Runs and records of releases before 0.2 are read under the present names."""

import json

import pytest

pytest.importorskip("pydantic", reason="training needs the `train` extra")

from depth_anything_ros.training.configuration import ConfigurationError, StageConfiguration, known_names
from depth_anything_ros.training.earlier_names import RENAMED, state_with_present_names, with_present_names
from depth_anything_ros.training.settings import StrictModel
from depth_anything_ros.zoo.record import ModelRecord

EARLIER = {
    "stage": "student",
    "name": "labelled",
    "licence": "MIT",
    "data": {"labelled": [{"shards": "labelled"}], "held_out_images": 12, "unlabelled_images": 8},
    "optimiser": {"encoder_rate": 1e-5, "warm_up": 3, "clip": 1.0, "average": 0.9, "accumulate": 2},
    "losses": {"aligned_on": "unlabelled"},
    "labelled_perturbation": {"colour_share": 0.5},
    "run": {"recompute": True},
}
PRESENT = {
    "stage": "student",
    "name": "labelled",
    "license": "MIT",
    "data": {"labeled": [{"shards": "labelled"}], "validation_images": 12, "unlabeled_batch_size": 8},
    "optimizer": {"encoder_lr": 1e-5, "warmup_steps": 3, "grad_clip": 1.0, "ema_decay": 0.9, "grad_accum_steps": 2},
    "losses": {"aligned_on": "unlabeled"},
    "labeled_augmentation": {"color_share": 0.5},
    "run": {"activation_checkpointing": True},
}


def test_settings_of_earlier_run_get_present_names():
    assert with_present_names(EARLIER) == PRESENT
    assert with_present_names(PRESENT) == PRESENT


def test_renamed_settings_exist_and_earlier_ones_do_not():
    names = {*known_names(StrictModel), *StageConfiguration.model_fields}
    assert set(RENAMED.values()) <= names
    assert not set(RENAMED) & names


def test_earlier_setting_name_is_rejected_with_present_name():
    with pytest.raises(ConfigurationError, match="optimiser: is now called optimizer"):
        StageConfiguration.from_dictionary(EARLIER)


def test_only_top_level_state_keys_are_renamed():
    state = {"step": 3, "decisive": "{}", "held_out": "a", "network": {"held_out": 1}}
    expected = {"step": 3, "fingerprint": "{}", "validation": "a", "network": {"held_out": 1}}
    assert state_with_present_names(state) == expected


def test_record_accepts_earlier_spelling_of_license():
    record = ModelRecord("model", "inverse_depth", "MIT")
    values = json.loads(record.to_json())
    values["licence"] = values.pop("license")
    assert ModelRecord.from_json(json.dumps(values)) == record
