"""`pipeline`: real commands in sequence, each run once; after a failure it continues from there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pydantic", reason="training needs the `train` extra")

import cv2
import numpy as np
import yaml
from folder_holder import held
from waiting import limit, wait_while_running

from depth_anything_ros.cli import main
from depth_anything_ros.commands import CommandError
from depth_anything_ros.commands.pipeline import read_pipeline
from depth_anything_ros.commands.steps import Step, as_status, end_text, is_done, marker_of
from depth_anything_ros.system.output_folder import SHARDS, Made, claimed, results_in

LIST = "models list --json $run/list.json"
SHOW = "models show tiny --json $run/tiny.json"


def written(path: Path, *steps: tuple[str, str]) -> Path:
    path.write_text(yaml.safe_dump({"steps": [{"name": name, "command": command} for name, command in steps]}))
    return path


def run(file: Path, output: Path, *arguments: str) -> int:
    return main(["pipeline", str(file), "--output", str(output), *arguments])


def test_pipeline_runs_steps_in_order_once(tmp_path, capfd):
    file, output = written(tmp_path / "steps.yaml", ("list", LIST), ("show", SHOW)), tmp_path / "run"
    assert run(file, output, "--json", str(tmp_path / "times.json")) == 0
    assert len(json.loads((output / "list.json").read_text())) > 3
    assert json.loads((output / "tiny.json").read_text())["name"] == "tiny"
    printed = capfd.readouterr().out
    assert printed.index("[1/2] list: depth_anything_ros models list --json ") < printed.index("[2/2] show: ")
    assert "(done)" not in printed
    steps = json.loads((tmp_path / "times.json").read_text())["steps"]
    assert [step["name"] for step in steps] == ["list", "show"]
    assert steps[0]["command"] == ["models", "list", "--json", str(output / "list.json")]
    assert all(step["seconds"] > 0 for step in steps)

    made = {name: (output / name).stat() for name in ("list.json", "tiny.json")}
    assert run(file, output, "--json", str(tmp_path / "times.json")) == 0
    assert {name: (output / name).stat() for name in made} == made  # neither was run again
    assert capfd.readouterr().out.count("(done)") == 2
    assert json.loads((tmp_path / "times.json").read_text())["steps"] == steps

    written(file, ("list", LIST), ("show", SHOW.replace("tiny", "depth_anything_v2_vits")))
    assert run(file, output) == 0  # the one that has changed is
    assert capfd.readouterr().out.count("(done)") == 1
    assert sorted(path.name for path in output.iterdir()) == [
        *("depth_anything_v2_vits.json", "done", "list.json", "tiny.json")
    ]


def test_step_with_deleted_result_runs_again(tmp_path, capfd):
    file, output = written(tmp_path / "steps.yaml", ("list", LIST), ("show", SHOW)), tmp_path / "run"
    assert run(file, output) == 0
    (output / "tiny.json").unlink()
    capfd.readouterr()
    assert run(file, output) == 0
    assert [line.endswith("(done)") for line in capfd.readouterr().out.splitlines() if "/2] " in line] == [True, False]
    assert (output / "tiny.json").exists()
    (output / "list.json").unlink()
    assert run(file, output, "--list") == 0
    assert "(done)" not in capfd.readouterr().out  # what comes after it is to be made again as well


def test_step_with_partly_deleted_folder_is_not_done(tmp_path):
    """What nobody needs may go."""
    shards, done = tmp_path / "shards", tmp_path / "done"
    step = Step("pack", ["data", "pack", "folder", "pictures", "--output", str(shards)])
    with claimed(shards, Made(SHARDS, "shards of folder", "data pack")) as folder:
        for name in ("shard-000000.tar", "shard-000001.tar", "notes.txt"):
            (shards / name).touch()
        (shards / "manifest.json").write_text(
            '{"shards": [{"name": "shard-000000.tar"}, {"name": "shard-000001.tar"}]}'
        )
        folder.note({"": "pictures"}, ["manifest.json"])
    done.mkdir()
    marker_of(step, done).write_text(
        json.dumps({"command": step.command, "outputs": {str(shards): results_in(shards)}})
    )
    assert is_done(step, done)
    (shards / "notes.txt").unlink()
    assert is_done(step, done)
    (shards / "shard-000001.tar").unlink()
    assert not is_done(step, done)


def test_step_with_changed_input_folder_runs_again(pictures, tmp_path, capfd):
    output = tmp_path / "run"
    (pictures / "0.png").write_bytes(cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    file = written(tmp_path / "steps.yaml", ("check", f"data check folder {pictures} --json $run/check.json"))
    assert run(file, output) == 0
    assert run(file, output) == 0
    assert "(done)" in capfd.readouterr().out
    os.link(pictures / "0.png", pictures / "1.png")
    assert run(file, output) == 0
    assert "(done)" not in capfd.readouterr().out
    assert json.loads((output / "check.json").read_text())["images"] == 2


def test_pipeline_stopped_between_steps_reruns_later_ones(tmp_path, capfd):
    """Though what they were made from is there, and fits."""
    file, output = written(tmp_path / "steps.yaml", ("list", LIST), ("show", SHOW)), tmp_path / "run"
    assert run(file, output) == 0
    written(file, ("list", f"{LIST} --jsn x"), ("show", SHOW))
    assert run(file, output) == 2
    assert not (output / "done" / "show.json").exists()


def test_two_pipelines_cannot_share_a_folder(tmp_path, capfd):
    file, output = written(tmp_path / "steps.yaml", ("list", LIST)), tmp_path / "run"
    with held(output / "done", "steps", "steps", "pipeline"):
        assert run(file, output) == 1
    assert "another process (`pipeline`, process " in capfd.readouterr().err
    assert not (output / "list.json").exists()


def test_failed_step_stops_and_next_call_continues(tmp_path, capfd):
    output = tmp_path / "run"
    file = written(
        tmp_path / "steps.yaml",
        ("list", LIST),
        ("own", "models show $run/own.json --json $run/shown.json"),
        ("usage", "models nonsense"),
        ("show", SHOW),
    )
    assert run(file, output, "--json", str(tmp_path / "times.json")) == 1
    assert "own ended with status 1; the same command tries it again after you fix that" in capfd.readouterr().err
    assert sorted(path.name for path in output.iterdir()) == ["done", "list.json"]
    assert not (tmp_path / "times.json").exists()

    made = (output / "list.json").stat()
    (output / "own.json").write_text(_own_record())
    assert run(file, output) == 2
    assert "usage ended with status 2" in capfd.readouterr().err
    assert (output / "list.json").stat() == made
    assert sorted(path.name for path in output.iterdir()) == ["done", "list.json", "own.json", "shown.json"]
    assert done_in(output) == ["list", "own"]


def done_in(output: Path) -> list[str]:
    """Return the steps that are noted as done."""
    return sorted(path.stem for path in (output / "done").glob("[!.]*.json"))


def _own_record() -> str:
    from depth_anything_ros.zoo.catalog import find

    return find("tiny").to_json()


def test_step_with_changed_input_file_runs_again(tmp_path, capfd):
    output, own = tmp_path / "run", tmp_path / "own.json"
    own.write_text(_own_record())
    file = written(tmp_path / "steps.yaml", ("list", LIST), ("own", f"models show {own} --json $run/shown.json"))
    assert run(file, output) == 0
    assert run(file, output) == 0
    assert capfd.readouterr().out.count("(done)") == 2  # what it wrote itself does not count
    own.write_text(_own_record().replace('"license": "Apache-2.0"', '"license": "MIT"'))
    assert run(file, output) == 0
    assert capfd.readouterr().out.count("(done)") == 1
    assert json.loads((output / "shown.json").read_text())["license"] == "MIT"
    own.unlink()
    assert run(file, output) == 0  # there is nothing to make it anew from
    assert capfd.readouterr().out.count("(done)") == 2


def pack_command(folder: Path, images: int, output: str | Path) -> str:
    """Return a command that packs that many images, one per shard."""
    (folder / "0.png").write_bytes(cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    for number in range(1, images):
        os.link(folder / "0.png", folder / f"{number}.png")
    return f"data pack folder {folder} --output {output} --shard 1 --processes 1"


def start(*words: str | Path) -> subprocess.Popen:
    """Start a command in its own process group."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([sys.executable, "-m", "depth_anything_ros", *words], start_new_session=True, **pipes)


def wait_for_a_shard(process: subprocess.Popen, shards: Path) -> None:
    wait_while_running(process, lambda: list(shards.glob("*.tar")), "a shard")


@pytest.fixture
def pictures(tmp_path) -> Path:
    (tmp_path / "pictures").mkdir()
    return tmp_path / "pictures"


@pytest.mark.parametrize("asked_by", [signal.SIGTERM, signal.SIGINT])
def test_pipeline_waits_for_step_that_stops(pictures, tmp_path, asked_by):
    """As a terminal's Ctrl-C, which reaches both, and a SIGTERM, which need not."""
    output = tmp_path / "run"
    file = written(tmp_path / "steps.yaml", ("pack", pack_command(pictures, 4_000, "$run/shards")))
    process = start("pipeline", file, "--output", output)
    wait_for_a_shard(process, output / "shards")
    if asked_by == signal.SIGINT:
        os.killpg(process.pid, asked_by)
    else:
        process.send_signal(asked_by)
    printed, _ = process.communicate(timeout=limit(120))  # until the last process that could print has ended
    assert "pack ended with status" in printed
    assert process.returncode != 0
    assert done_in(output) == []


def test_sigint_to_pipeline_alone_reaches_step(pictures, tmp_path):
    """As `kill -INT` and supervisors send it, instead of letting a training of days go on to its end."""
    output = tmp_path / "run"
    file = written(tmp_path / "steps.yaml", ("pack", pack_command(pictures, 4_000, "$run/shards")), ("list", LIST))
    process = start("pipeline", file, "--output", output)
    wait_for_a_shard(process, output / "shards")
    process.send_signal(signal.SIGINT)
    for line in process.stdout:  # at once, before the step has ended
        if "stop requested: waiting for pack to end; no further step starts" in line:
            break
    else:
        raise AssertionError("nothing was said")
    printed, _ = process.communicate(timeout=limit(120))
    assert process.returncode == 130
    assert done_in(output) == []
    assert "[2/2]" not in printed


def test_stopped_pipeline_starts_no_further_step(tmp_path):
    """Where the signal came too late for the step that is run."""
    file = written(tmp_path / "steps.yaml", ("list", LIST), ("show", SHOW))
    process = start("pipeline", file, "--output", tmp_path / "run")
    wait_while_running(process, (tmp_path / "run/list.json").exists, "the first step's result")
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=limit(120))
    assert process.returncode in (130, 143), printed
    assert "[2/2]" not in printed


def test_pipeline_under_several_slurm_tasks_is_rejected(tmp_path, capfd, monkeypatch):
    """Each of eight tasks would else run every step."""
    file = written(tmp_path / "steps.yaml", ("list", LIST))
    for name, value in (("SLURM_PROCID", "3"), ("SLURM_NTASKS", "8"), ("SLURM_LOCALID", "3")):
        monkeypatch.setenv(name, value)
    assert run(file, tmp_path / "run") == 1
    assert "SLURM started 8 processes: start pipeline once (srun --ntasks 1)" in capfd.readouterr().err
    assert not (tmp_path / "run").exists()


def test_end_of_step_is_described():
    assert end_text(1) == "ended with status 1; the same command tries it again after you fix that"
    assert end_text(75) == "ended with status 75; the same command continues it"
    killed = "was ended by SIGKILL (most likely because memory ran out); the same command continues it"
    assert (end_text(-9), as_status(-9)) == (killed, 137)
    assert (end_text(-15), as_status(-15)) == ("was ended by SIGTERM; the same command continues it", 143)


def test_killed_pack_leaves_no_process(pictures, tmp_path):
    process = start(*pack_command(pictures, 4_000, tmp_path / "shards").split())
    wait_for_a_shard(process, tmp_path / "shards")
    process.kill()
    process.communicate(timeout=limit(60))  # until the last process that could print has ended


SMALL = Path(__file__).parents[2] / "config" / "train" / "small" / "pipeline.yaml"


@pytest.mark.parametrize(("said", "overlap"), [([], "take_out"), (["--define", "overlap=allow"], "allow")])
def test_small_pipeline_excludes_overlap_unless_allowed(said, overlap, tmp_path, capfd):
    folders = ["--define", f"photographs={tmp_path}", "--define", f"data={tmp_path}"]
    assert run(SMALL, tmp_path / "run", "--list", *folders, *said) == 0
    trainings = [line for line in capfd.readouterr().out.splitlines() if "_ros train " in line]
    assert len(trainings) == 2
    assert all(line.endswith(f"--set data.overlap={overlap}") for line in trainings)


def test_list_option_runs_no_step(tmp_path, capfd):
    output = tmp_path / "run"
    file = written(tmp_path / "steps.yaml", ("list", LIST), ("show", SHOW))
    assert run(file, output, "--list") == 0
    assert not output.exists()
    assert run(written(tmp_path / "first.yaml", ("list", LIST)), output) == 0
    capfd.readouterr()
    assert run(file, output, "--list") == 0
    first, second = capfd.readouterr().out.splitlines()
    assert first.endswith("(done)")
    assert second == f"[2/2] show: depth_anything_ros models show tiny --json {output}/tiny.json"
    assert not (output / "tiny.json").exists()


def test_pipeline_variables_expand_to_one_word(tmp_path):
    command = "train $here/a.yaml --set \"x=[{y: $data}]\" '$data' $${data} ${data}/b"
    file = written(tmp_path / "steps.yaml", ("a", command))
    steps = read_pipeline(file, {"here": "config"}, {"data": "my photographs"}).steps
    words = ["train", "config/a.yaml", "--set", "x=[{y: my photographs}]", "my photographs", "${data}"]
    assert steps == [Step("a", [*words, "my photographs/b"])]


@pytest.mark.parametrize(
    ("name", "defined", "last", "folders", "models"),
    [
        ("small", {"photographs": "my photographs"}, "evaluate_teacher", ["my photographs", "data"], []),
        ("tiny", {"pretrained": "vits"}, "evaluate", ["data"], ["vits"]),
    ],
)
def test_shipped_pipelines_expand_completely(repository, name, defined, last, folders, models):
    file = repository / "config" / "train" / name / "pipeline.yaml"
    pipeline = read_pipeline(file, {"run": "out", "here": str(file.parent)}, {"data": "data", **defined})
    assert pipeline.steps[-1].name == last
    assert pipeline.folders == folders
    assert pipeline.models == models
    for step in pipeline.steps:
        assert not any("$" in word or "\n" in word for word in step.command)
        for word in step.command:
            assert not word.startswith(str(file.parent)) or Path(word).is_file()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("steps: []", "must contain a list of steps"),
        ("step: [{name: a, command: b}]", "unknown step; allowed are steps, defaults, folders and models"),
        ("defaults: {a: b}", "must contain a list of steps"),
        ("steps: {name: a, command: b}", "must contain a list of steps"),
        ("steps: [models list]", "a step needs a name and a command, and nothing else, but is models list"),
        ("steps: [{name: a}]", "a step needs a name and a command, and nothing else, but is {'name': 'a'}"),
        ("steps: [{name: a, command: b, when: now}]", "a step needs a name and a command"),
        ("steps: [{name: a, command: [models, list]}]", r"a step's command must be text, not \['models', 'list'\]"),
        ("steps: [{name: a, command: }]", "a step's command must be text, not None"),
        ("steps: [{name: 1, command: models list}]", "a step's name must be text, not 1; put it in quotes"),
        ("steps: [{name: '', command: models list}]", "a step's name must be text, not ''"),
        (
            "steps: [{name: ../a, command: models list}]",
            "step ../a: the name is used for a file, so it must not contain /",
        ),
        ("steps: [{name: a, command: b}, {name: a, command: c}]", "several steps have the name a: "),
        ("steps: [{name: a, command: b $data}]", r"step a needs a value for \$data: give --define data=VALUE"),
        ("steps: [{name: a, command: b $}]", "step a: Invalid placeholder"),
        ("steps: [{name: a, command: 'b \"c'}]", "step a: No closing quotation"),
        ("{step: [], steps: [{name: a, command: b}]}", "unknown step; allowed are steps, defaults, folders and models"),
        (
            "{steps: [{name: a, command: b}], defaults: [b]}",
            "defaults must be names and values, folders and models must be lists",
        ),
        (
            "{steps: [{name: a, command: b}], folders: c}",
            "defaults must be names and values, folders and models must be",
        ),
    ],
)
def test_invalid_pipeline_file_raises(tmp_path, content, message):
    file = tmp_path / "steps.yaml"
    file.write_text(content)
    with pytest.raises(CommandError, match=rf"steps\.yaml: {message}"):
        read_pipeline(file, {"run": "out"}, {})


def test_pipeline_errors_appear_before_first_step(tmp_path, capfd):
    output = tmp_path / "run"
    file = written(tmp_path / "steps.yaml", ("list", LIST), ("show", "models show $model"))
    assert run(file, output) == 1
    assert "step show needs a value for $model: give --define model=VALUE" in capfd.readouterr().err
    assert run(file, output, "--define", "model") == 1
    assert "--define model: give NAME=VALUE" in capfd.readouterr().err
    assert run(tmp_path / "absent.yaml", output) == 1
    assert "absent.yaml" in capfd.readouterr().err
    assert run(file, output, "--define", "model=tiny", "--define", "modle=tiny") == 1
    assert "does not use this name, only model" in capfd.readouterr().err
    assert not output.exists()
    assert run(file, output, "--list", "--define", "model=a=b") == 0
    assert capfd.readouterr().out.endswith("models show a=b\n")


def test_pipeline_checks_inputs_of_later_steps_first(tmp_path, capfd):
    output, file = tmp_path / "run", tmp_path / "steps.yaml"
    show, listed = "models show $model --json $run/shown.json", "models list --json $data/list.json"
    steps = [{"name": "show", "command": show}, {"name": "list", "command": listed}]
    needs = {"folders": ["$data"], "models": ["$model"], "defaults": {"model": "tiny", "data": str(tmp_path)}}
    file.write_text(yaml.safe_dump({"steps": steps, **needs}))
    absent = "the folder absent, which a later step needs, does not exist; give another with --define"
    for definition, message in (("data=absent", absent), ("model=no/such.pth", "no/such.pth")):
        assert run(file, output, "--define", definition) == 1
        assert message in capfd.readouterr().err
        assert not output.exists()
    assert run(file, output) == 0
    assert json.loads((output / "shown.json").read_text())["name"] == "tiny"
