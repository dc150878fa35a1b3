"""Stage configurations: shipped ones load, every rule names the error, and changes reach their setting."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pydantic", reason="training needs the `train` extra")

import yaml

from depth_anything_ros.training.ablation import read_ablation
from depth_anything_ros.training.configuration import ConfigurationError, StageConfiguration, read_yaml, set_dotted

CONFIGURATIONS = Path(__file__).resolve().parents[2] / "config" / "train"
FILES = {path.relative_to(CONFIGURATIONS).as_posix(): path for path in sorted(CONFIGURATIONS.rglob("*.yaml"))}
STAGES = [name for name, path in FILES.items() if "stage" in yaml.safe_load(path.read_text())]
ABLATIONS = [name for name, path in FILES.items() if "variants" in yaml.safe_load(path.read_text())]


def test_shipped_configurations_are_found():
    assert {"teacher.yaml", "student_v2.yaml", "metric_indoor.yaml", "small/student.yaml"} <= set(STAGES)
    assert len(STAGES) >= 10
    assert len(ABLATIONS) >= 4


@pytest.mark.parametrize("name", STAGES)
def test_shipped_stage_configurations_load(name):
    configuration = StageConfiguration.read(FILES[name])
    assert StageConfiguration.from_dictionary(configuration.to_dictionary()) == configuration
    assert configuration.fingerprint()["name"] == configuration.name


@pytest.mark.parametrize("name", ABLATIONS)
def test_shipped_ablation_variants_load_and_differ(name):
    ablation = read_ablation(FILES[name])
    read = [StageConfiguration.read(ablation.base, variant.changes) for variant in ablation.variants]
    variants = {json.dumps(configuration.fingerprint()) for configuration in read}
    assert len(variants) == len(ablation.variants) > 2


def valid(stage: str = "student", changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """A valid configuration with changes by dotted names."""
    values: dict[str, Any] = {
        "stage": stage,
        "name": "one",
        "network": {"encoder": "vits"},
        "data": {"labeled": [{"shards": "labeled"}], "labeled_batch_size": 4},
        "optimizer": {"steps": 10},
    }
    if stage in ("student", "distil"):
        values["data"] |= {"unlabeled": [{"shards": "images", "labels": "labels"}], "unlabeled_batch_size": 8}
    if stage == "metric":
        values["network"]["max_depth"] = 80.0
    if stage == "segment":
        values["segmentation"] = {"classes": 19}
    for name, value in (changes or {}).items():
        set_dotted(values, name, value)
    return values


@pytest.mark.parametrize("stage", ["teacher", "student", "distil", "metric", "segment"])
def test_minimal_configuration_of_every_stage_loads(stage):
    assert StageConfiguration.from_dictionary(valid(stage)).stage == stage


SHARDS = {"shards": "images"}
SET = {"set": "kitti", "root": "data"}
WRONG = [
    ("student", {"stage": "pupil"}, "^stage: is .+, must be 'compress', 'teacher', .* or 'segment'$"),
    ("student", {"nmae": "one"}, r"^nmae: unknown setting \(did you mean name\?\)$"),
    ("student", {"optimizer.rate": 1.0}, r"^optimizer\.rate: unknown setting"),
    ("student", {"data.labeled": [{"shard": "x"}]}, r"data\.labeled\.0\.shard: unknown setting"),
    # Wrong kinds.
    ("student", {"optimizer.steps": "many"}, r"^optimizer\.steps: is 'many', must be a valid integer$"),
    ("student", {"optimizer.steps": 1.5}, r"^optimizer\.steps: is .+, must be a valid integer"),
    ("student", {"optimizer": {}}, r"^optimizer\.steps: must be given$"),
    ("student", {"data.sizes": [14, 14]}, r"^data\.sizes\.0: is .+, must be a valid tuple"),
    ("student", {"data.sizes": [[14, 14, 14]]}, r"^data\.sizes\.0: Tuple should have at most 2 items"),
    ("student", {"data": None}, r"^data: is .+, must be"),
    ("student", {"run.compile": "perhaps"}, r"^run\.compile: is .+, must be a valid boolean"),
    # Out of range.
    ("student", {"optimizer.steps": 0}, r"^optimizer\.steps: is .+, must be greater than 0$"),
    (
        "student",
        {"optimizer.encoder_lr": -1e-6},
        r"^optimizer\.encoder_lr: is .+, must be greater than or equal to 0",
    ),
    ("student", {"optimizer.grad_clip": 0.0}, r"^optimizer\.grad_clip: is .+, must be greater than 0$"),
    ("student", {"optimizer.ema_decay": 1.0}, r"^optimizer\.ema_decay: is .+, must be less than 1$"),
    (
        "student",
        {"optimizer.schedule": "step"},
        r"^optimizer\.schedule: is .+, must be 'linear', 'cosine' or 'power'$",
    ),
    ("student", {"losses.trimmed": 1.0}, r"^losses\.trimmed: is .+, must be less than 1$"),
    ("student", {"losses.aligned_on": "both"}, r"^losses\.aligned_on: is .+, must be 'unlabeled' or 'labeled'$"),
    ("student", {"run.seed": -1}, r"^run\.seed: is .+, must be greater than or equal to 0$"),
    ("student", {"run.precision": "bf16"}, r"^run\.precision: is .+, must be 'auto', '32-true' or 'bf16-mixed'$"),
    ("student", {"data.smallest_crop": 0.0}, r"^data\.smallest_crop: is .+, must be greater than 0$"),
    ("student", {"data.smallest_crop": 1.1}, r"^data\.smallest_crop: is .+, must be less than or equal to 1$"),
    ("student", {"augmentation.hue": 0.6}, r"^augmentation\.hue: is .+, must be less than or equal to 0\.5$"),
    ("student", {"augmentation.blur_share": 2}, r"^augmentation\.blur_share: is .+, must be less than or equal to 1$"),
    (
        "student",
        {"augmentation.blur": [0.1, 5]},
        r"^augmentation: blur is 0\.1 to 5: must be an ascending range within 0 to 2$",
    ),
    (
        "student",
        {"augmentation.blur": [2, 0.1]},
        r"^augmentation: blur is 2 to 0\.1: must be an ascending range within 0 to 2$",
    ),
    ("student", {"augmentation.cut_area": [0.1, 1.5]}, r"^augmentation: cut_area is 0\.1 to 1\.5: .* within 0 to 1$"),
    ("student", {"augmentation.cut_aspect": [0, 2]}, r"^augmentation: cut_aspect is 0 to 2: .* within 0\.001 to 1000$"),
    ("segment", {"segmentation.classes": 1}, r"^segmentation\.classes: is .+, must be greater than or equal to 2$"),
    ("segment", {"segmentation.classes": 256}, r"^segmentation\.classes: is .+, must be less than or equal to 255$"),
    # Sources.
    ("student", {"data.labeled": [{}]}, r"^data\.labeled\.0: give either shards, or set and root$"),
    ("student", {"data.labeled": [SHARDS | SET]}, r"^data\.labeled\.0: give either shards, or set and root$"),
    ("student", {"data.labeled": [{"set": "kitti"}]}, r"^data\.labeled\.0: give either shards, or set and root$"),
    (
        "student",
        {"data.labeled": [SHARDS | {"root": "x"}]},
        r"^data\.labeled\.0: give either shards, or set and root$",
    ),
    ("student", {"data.unlabeled": [SET | {"labels": "x"}]}, r"^data\.unlabeled\.0: labels need shards: "),
    (
        "student",
        {"data.labeled": [SHARDS | {"fields": {"split": "train"}}]},
        r"^data\.labeled\.0: fields need a set: ",
    ),
    ("student", {"data.labeled": [SHARDS | {"limit": 5}]}, r"^data\.labeled\.0: limit needs a set: "),
    (
        "student",
        {"data.labeled": [SET | {"limit": -1}]},
        r"^data\.labeled\.0\.limit: is .+, must be greater than or",
    ),
    # Stages.
    ("compress", {"network.start": None}, "^the stage compress needs network.start, "),
    (
        "compress",
        {"network.start": "vits", "network.start_decoder": True},
        "^the stage compress needs network.start, ",
    ),
    ("teacher", {"labeled_augmentation": {}}, r"labeled_augmentation\.cut_share must be 0, because"),
    # Networks.
    ("student", {"network.encoder": "vitx"}, r"^network: unknown encoder 'vitx': choose one of "),
    ("student", {"network.version": "v3"}, r"^network: version 'v3' of vits is unknown: choose one of "),
    ("student", {"network.start_decoder": True}, r"^network: start_decoder needs start, "),
    # Data.
    ("student", {"data.sizes": [[28, 30]]}, r"^data: sizes holds 28x30: both sides must be multiples of 14$"),
    ("student", {"data.sizes": [[14, 14], [0, 14]]}, r"^data: sizes holds 0x14: both sides must be multiples of 14$"),
    ("student", {"data.sizes": []}, r"^data: give at least one size, and labeled or unlabeled sources$"),
    (
        "student",
        {"data.labeled_batch_size": 0},
        r"^data: labeled \(sources\) and labeled_batch_size \(images in a step\) need each other: give both$",
    ),
    (
        "student",
        {"data.unlabeled": []},
        r"^data: unlabeled \(sources\) and unlabeled_batch_size \(images in a step\) need each other: give both$",
    ),
    (
        "teacher",
        {"data.labeled": [], "data.labeled_batch_size": 0},
        r"^data: give at least one size, and labeled or unlabeled sources$",
    ),
    # Settings that do not go together.
    (
        "teacher",
        {"network.max_depth": 80.0},
        r"^network\.max_depth must be given for the stage metric, and only for it$",
    ),
    (
        "metric",
        {"network.max_depth": None},
        r"^network\.max_depth must be given for the stage metric, and only for it$",
    ),
    ("segment", {"segmentation": None}, "^segmentation must be given for the stage segment, and only for it$"),
    ("teacher", {"segmentation.classes": 19}, "^segmentation must be given for the stage segment, and only for it$"),
    (
        "distil",
        {"data.unlabeled": [], "data.unlabeled_batch_size": 0},
        r"^the stage distil needs unlabeled images, but data\.unlabeled is empty$",
    ),
    ("student", {"data.unlabeled": [SHARDS]}, "^unlabeled sources need labels, or a teacher that labels them"),
    (
        "student",
        {"data.unlabeled": [SHARDS | {"labels": "x"}, SHARDS]},
        "^unlabeled sources need labels, or a teacher that labels them",
    ),
    (
        "student",
        {"data.unlabeled_batch_size": 7},
        "^unlabeled_batch_size must be even in each part of a step, because images are mixed",
    ),
    (
        "student",
        {"data.unlabeled_batch_size": 6, "data.labeled_batch_size": 2, "optimizer.grad_accum_steps": 2},
        "^unlabeled_batch_size must be even in each part of a step",
    ),
    (
        "student",
        {"optimizer.grad_accum_steps": 2, "data.labeled_batch_size": 3},
        r"^data\.labeled_batch_size must be a multiple of op",
    ),
    (
        "distil",
        {"data.labeled": [], "data.labeled_batch_size": 0, "losses.aligned_on": "labeled"},
        r"^losses\.aligned_on is labeled, but data\.labeled is empty$",
    ),
    ("teacher", {"name": "../one"}, r"^name is '\.\./one': it is used for the model"),
    ("teacher", {"name": "my model"}, "^name is 'my model': it is used for the model and its files"),
    (
        "teacher",
        {"optimizer.grad_accum_steps": 3},
        r"^data\.labeled_batch_size must be a multiple of optimizer\.grad_accum_steps$",
    ),
    (
        "teacher",
        {"data.unlabeled": [SHARDS], "data.unlabeled_batch_size": 8},
        r"^the stage teacher uses neither data\.unlabeled nor a teacher: remove them$",
    ),
]


@pytest.mark.parametrize(("stage", "changes", "message"), WRONG)
def test_invalid_setting_is_named(stage, changes, message):
    with pytest.raises(ConfigurationError, match=message):
        StageConfiguration.from_dictionary(valid(stage, changes))


def test_all_invalid_settings_are_named_together():
    with pytest.raises(ConfigurationError) as caught:
        StageConfiguration.from_dictionary(valid(changes={"nmae": 1, "optimizer.steps": 0, "run.keep": 0}))
    assert len(str(caught.value).split("; ")) == 3
    for name in ("nmae", "optimizer.steps", "run.keep"):
        assert f"{name}: " in str(caught.value)


def test_teacher_and_labels_may_be_combined():
    configuration = StageConfiguration.from_dictionary(
        valid(changes={"data.unlabeled": [SHARDS, SHARDS | {"labels": "x"}], "teacher.model": "tiny"})
    )
    assert not configuration.carry_labels
    assert StageConfiguration.from_dictionary(valid()).carry_labels


def test_settings_are_immutable():
    configuration = StageConfiguration.from_dictionary(valid())
    with pytest.raises(ValueError, match="frozen"):
        configuration.run.seed = 1


INDECISIVE = {
    "optimizer.grad_accum_steps": 2,
    "data.workers": 0,
    "data.validation": [SHARDS],
    "data.validation_images": 5,
    "run.strategy": "fsdp",
    "run.compile": True,
    "run.activation_checkpointing": True,
    "run.log_every": 3,
    "run.save_every": 3,
    "run.validate_every": 3,
    "run.keep": 3,
}
DECISIVE = {
    "name": "other",
    "stage": "distil",
    "network.encoder": "vitb",
    "network.version": "v1",
    "network.start": "tiny",
    "data.labeled": [SHARDS],
    "data.labeled_batch_size": 6,
    "data.unlabeled": [{"shards": "images", "labels": "others"}],
    "data.unlabeled_batch_size": 6,
    "data.sizes": [[14, 14]],
    "data.smallest_crop": 0.5,
    "optimizer.steps": 11,
    "optimizer.encoder_lr": 1e-3,
    "optimizer.decoder_lr": 1e-3,
    "optimizer.weight_decay": 0.5,
    "optimizer.betas": [0.8, 0.9],
    "optimizer.schedule": "cosine",
    "optimizer.warmup_steps": 2,
    "optimizer.grad_clip": 2.0,
    "optimizer.ema_decay": 0.5,
    "losses.gradient": 1.0,
    "losses.trimmed": 0.5,
    "losses.alignment": 0.0,
    "losses.tolerance": 0.5,
    "losses.aligned_on": "labeled",
    "augmentation": None,
    "augmentation.hue": 0.1,
    "teacher.model": "tiny",
    "run.seed": 1,
    "run.precision": "32-true",
}


@pytest.mark.parametrize("name", INDECISIVE)
def test_fingerprint_ignores_settings_without_effect_on_result(name):
    changed = StageConfiguration.from_dictionary(valid(changes={name: INDECISIVE[name]}))
    same = StageConfiguration.from_dictionary(valid())
    assert changed != same
    assert changed.fingerprint() == same.fingerprint()


def test_fingerprint_without_log_loss_is_that_of_runs_before_it():
    same = StageConfiguration.from_dictionary(valid())
    weighted = StageConfiguration.from_dictionary({**valid(), "losses": {"log": 0.5}})
    assert "log" not in same.fingerprint()["losses"]
    assert weighted.fingerprint()["losses"]["log"] == 0.5


@pytest.mark.parametrize("name", DECISIVE)
def test_fingerprint_contains_settings_with_effect_on_result(name):
    changed = StageConfiguration.from_dictionary(valid(changes={name: DECISIVE[name]}))
    assert changed.fingerprint() != StageConfiguration.from_dictionary(valid()).fingerprint()


def written(path: Path, values: Any) -> Path:
    path.write_text(yaml.safe_dump(values))
    return path


def test_dotted_changes_override_file(tmp_path):
    path = written(tmp_path / "one.yaml", valid(changes={"augmentation": None}))
    changes = {
        "optimizer.steps": 99,
        "run.seed": 7,  # a section that the file has not
        "augmentation.blur_share": 0.0,  # and one that is empty
        "name": "other",
        "data.sizes": [[14, 28]],
    }
    configuration = StageConfiguration.read(path, changes)
    assert configuration.optimizer.steps == 99
    assert configuration.run.seed == 7
    assert configuration.augmentation.blur_share == 0.0
    assert configuration.name == "other"
    assert configuration.data.sizes == ((14, 28),)
    assert configuration.data.labeled_batch_size == 4
    unchanged = StageConfiguration.read(path)
    assert (unchanged.optimizer.steps, unchanged.augmentation) == (10, None)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("name.first", "^name.first: name is a value, not a section$"),
        ("data.labeled.0.shards", "^data.labeled.0.shards: labeled is a value, not a section$"),
        ("optimizer.steps.first", "^optimizer.steps.first: steps is a value, not a section$"),
    ],
)
def test_invalid_dotted_name_raises(tmp_path, name, message):
    path = written(tmp_path / "one.yaml", valid())
    with pytest.raises(ConfigurationError, match=message):
        StageConfiguration.read(path, {name: 1})


def test_set_dotted_leaves_given_sections_unchanged():
    section = {"steps": 1}
    values = {"optimizer": section}
    set_dotted(values, "optimizer.steps", 2)
    set_dotted(values, "a.b.c", 3)
    assert values == {"optimizer": {"steps": 2}, "a": {"b": {"c": 3}}}
    assert section == {"steps": 1}


def test_error_names_configuration_file(tmp_path):
    path = written(tmp_path / "one.yaml", valid(changes={"optimizer.steps": 0}))
    with pytest.raises(ConfigurationError, match=r"one\.yaml: optimizer\.steps: is .+, must be greater than 0$"):
        StageConfiguration.read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"stage: [", r"cannot read .*one\.yaml: while parsing a flow node expected .* line 1, column 9"),
        (b"\xff\xfe\xfa", r"cannot read .*one\.yaml: "),
        (b"- a\n- b\n", r"one\.yaml must contain names and values"),
        (b"", r"one\.yaml must contain names and values"),
        (None, r"cannot read .*one\.yaml: .*No such file"),
    ],
)
def test_unreadable_yaml_raises(tmp_path, content, message):
    path = tmp_path / "one.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=message):
        read_yaml(path)


def test_learning_rate_without_decimal_point_is_a_number(tmp_path):
    """YAML takes 5e-6 for text, since it has no point."""
    path = tmp_path / "one.yaml"
    path.write_text(yaml.safe_dump(valid()).replace("steps: 10", "steps: 10\n  encoder_lr: 5e-6"))
    assert StageConfiguration.read(path).optimizer.encoder_lr == 5e-6


def test_a_path_of_another_type_is_named():
    with pytest.raises(ConfigurationError, match=r"data\.labeled\.0\.shards: is 5, must be a path"):
        StageConfiguration.from_dictionary({"data": {"labeled": [{"shards": 5}]}})
