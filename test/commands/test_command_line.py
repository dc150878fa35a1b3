"""The command `depth_anything_ros`: its help, its errors, and the imports that it avoids."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import metadata
from pathlib import Path

import pytest
from waiting import limit

import depth_anything_ros
from depth_anything_ros.cli import PIPE_CLOSED, main
from depth_anything_ros.commands.registry import COMMANDS, build_parser
from depth_anything_ros.system.extras import EXTRAS, advice

TORCH_FREE = ("bench", "camera", "demo", "evaluate", "models", "predict")


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command as the console script does."""
    entry_point = "import sys; from depth_anything_ros.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", entry_point, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=limit(120))


def test_version_option_prints_version() -> None:
    result = run("--version")
    assert result.returncode == 0
    assert result.stdout.strip() == depth_anything_ros.__version__


def test_package_runs_as_module() -> None:
    command = [sys.executable, "-m", "depth_anything_ros", "models", "show", "no_such_model"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=limit(120))
    assert result.returncode == 1
    assert result.stderr.startswith("depth_anything_ros models: ")


def test_help_lists_every_command() -> None:
    result = run("--help")
    assert result.returncode == 0
    for name, summary in COMMANDS.items():
        assert name in result.stdout
        assert summary.split(",")[0].split(";")[0] in " ".join(result.stdout.split())


def test_parsers_of_torch_free_commands_import_no_torch() -> None:
    program = (
        f"import sys; from depth_anything_ros import cli; [cli.build_parser(name) for name in {TORCH_FREE}]; "
        "print(sorted({'torch', 'onnx', 'transformers'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=limit(120))
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"


CORE_ONLY = """
import sys

CORE = {"depth_anything_ros", "numpy", "onnxruntime", "cv2", "yaml", "google", "flatbuffers", "packaging", "setuptools"}


class Blocker:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in CORE and top not in sys.stdlib_module_names and not top.startswith("_"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Blocker())
from depth_anything_ros.system import extras
from depth_anything_ros.cli import main

if hasattr(extras, "find_spec"):  # which would ask the blocker
    spec_of = extras.find_spec
    extras.find_spec = lambda name: spec_of(name) if name in CORE else None
sys.exit(main())
"""
"""The command where nothing is installed but what the package cannot do without."""


def run_core_only(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", CORE_ONLY, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("command", COMMANDS)
def test_command_help_needs_no_extra(command: str) -> None:
    result = run_core_only(command, "--help")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"usage: depth_anything_ros {command}")
    assert result.stderr == ""


def test_data_list_needs_no_extra() -> None:
    result = run_core_only("data", "list")
    assert result.returncode == 0, result.stderr
    assert "nyuv2" in result.stdout


def test_data_check_of_folder_needs_no_extra(repository: Path, tmp_path: Path) -> None:
    result = run_core_only("data", "check", "folder", repository / "docs", "--output", tmp_path / "sheet.png")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "sheet.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "packages", "extras"),
    [
        (["scenes", "--output", "OUT"], "numba", "train"),
        (["scenes", "--pack", "OUT"], "numba", "train"),
        (["data", "pack", "folder", "HERE", "--output", "OUT"], "webdataset", "data"),
        (["train", "--settings"], "torch and lightning_fabric and pydantic", "train"),
        (["label", "HERE", "--teacher", "tiny", "--output", "OUT"], "torch and webdataset and pydantic", "train"),
        (["ablate", "absent.yaml", "--output", "OUT"], "torch and lightning_fabric and pydantic", "train"),
        (["pipeline", "absent.yaml", "--output", "OUT"], "pydantic", "train"),
        (["export", "tiny", "--output", "OUT/tiny.onnx"], "torch and onnx and safetensors", "onnx,torch"),
        (["bench", "--encoder", "vits", "--size", "28x28"], "torch and onnx", "onnx,torch"),
        (["bench", "--transformers"], "torch and transformers", "test,torch"),
        (["camera"], "rclpy and sensor_msgs", "ros"),
        (["demo", "--output", "OUT"], "rclpy and sensor_msgs and skimage", "demo,ros"),
    ],
)
def test_missing_extra_is_named_in_one_line(arguments: list[str], packages: str, extras: str, tmp_path: Path) -> None:
    output = tmp_path / "out"
    words = [word.replace("OUT", str(output)).replace("HERE", str(Path(__file__).parent)) for word in arguments]
    result = run_core_only(*words)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"depth_anything_ros {arguments[0]}: needs {packages}; ")
    assert " come with the extra" in line.replace("comes", "come")
    assert f": pip install '.[{extras}]' in the checkout" in line
    assert f"pip install './src/depth_anything_ros[{extras}]'" in line
    assert not output.exists()


def test_every_advised_extra_exists() -> None:
    assert set(EXTRAS.values()) <= set(metadata("depth_anything_ros").get_all("Provides-Extra"))


def test_package_without_extra_points_to_installation_page() -> None:
    assert advice("no_such_package") == "it is in no extra: see docs/installation.md"


@pytest.mark.parametrize("arguments", [("no_such_command",), ("predict", "--no-such-option")])
def test_wrong_usage_exits_with_status_2(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert result.stderr.startswith("usage: depth_anything_ros")
    assert "error: " in result.stderr.splitlines()[-1]


def test_missing_command_lists_all_commands() -> None:
    result = run()
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("usage: depth_anything_ros")
    for name, summary in COMMANDS.items():
        assert re.search(rf"^    {name}\s", result.stderr, re.MULTILINE)
        assert summary in " ".join(result.stderr.split())
    assert "error: " in result.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["predikt"], "unknown 'predikt': did you mean predict?"),
        (["predict", "--modle", "tiny"], "unknown option --modle: did you mean --model?"),
        (["predict", "x.png", "--output", "o", "--modle=tiny"], "unknown option --modle: did you mean --model?"),
        (["predict", "x.png", "--output", "o", "--save", "pgn"], "argument --save: unknown 'pgn': did you mean png"),
        (["verify", "--model", "tiny"], "model is a positional argument, see depth_anything_ros verify --help"),
        (["models", "lst"], "unknown 'lst': did you mean list?"),
        (["data", "chek", "folder", "."], "unknown 'chek': did you mean check?"),
        (["data", "check", "folder", ".", "--sample", "2", "--outptu", "x"], "did you mean --output?"),
        (["camera", "--sorce", "0"], "did you mean --source"),
    ],
)
def test_misspelled_option_gets_suggestion(
    arguments: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert meant in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    "arguments",
    [
        [
            "camera",
            "--model",
            "absent.onnx",
            "--ros-args",
            "--params-fille",
            "x",
            "-r",
            "__ns:=/a",
            "--log-level",
            "warn",
        ],
        ["predict", "x.png", "--out", "o"],
        ["predict", "--output=o", "--", "--modle"],
    ],
)
def test_valid_and_abbreviated_options_parse(arguments: list[str]) -> None:
    build_parser(arguments[0]).parse_args(arguments)


@pytest.mark.parametrize(
    ("command", "options", "message"),
    [
        ("predict", ["--fov", "0"], "--fov is 0 degrees, must be between 0 and 180"),
        ("predict", ["--fov", "nan"], "--fov is nan, must be finite"),
        ("predict", ["--every", "0"], "--every is 0, must be at least 1"),
        ("predict", ["--threads", "0"], "--threads is 0, must be at least 1"),
        ("predict", ["--max-range", "-1"], "--max-range is -1, must be positive"),
        ("predict", ["--record", "absent.json"], "--record absent.json: file not found"),
        ("predict", ["--json", "{folder}"], "--json {folder} is a folder, must be the name of a file"),
        ("predict", ["--output", "{file}"], "--output {file} is a file, must be a folder"),
        ("predict", ["--output", "{file}/depth"], "--output {file}/depth: {file} is a file, not a folder"),
        ("predict", ["--scale=-1,2"], "--scale is -1,2, A must be positive"),
        ("bench", ["--seconds", "nan"], "--seconds is nan, must be finite"),
        ("bench", ["--rounds", "0"], "--rounds is 0, must be at least 1"),
        ("predict", ["--output", ""], "--output is empty, must name a file or folder"),
        ("predict", ["--json", ""], "--json is empty, must name a file or folder"),
        ("verify", ["--images", ""], "an input is empty; give a file or folder"),
        ("data", ["check", "folder", ""], "root is empty, must name a file or folder"),
        ("train", [""], "configuration is empty, must name a file or folder"),
        ("predict", ["--backend", "onnxruntme"], "--backend onnxruntme is unknown: did you mean onnxruntime"),
        ("predict", ["--backend", "fastest"], "--backend fastest is unknown, choose one of auto, tensorrt"),
        ("verify", ["--against", "openvno"], "--against openvno is unknown: did you mean openvino"),
        (
            "verify",
            ["--picture", "difference.txt"],
            "--picture difference.txt: unsupported picture format",
        ),
        ("bench", ["--precision", "fp23"], "--precision fp23 is unknown: did you mean fp32"),
        ("bench", ["--size", "0x336"], "--size is 0x336, both sides must be at least 1"),
        ("camera", ["--rate", "0"], "--rate is 0, must be positive"),
        ("scenes", ["--output", "{file}"], "--output {file} is a file, must be a folder"),
        ("demo", ["--output", "{file}"], "--output {file} is a file, must be a folder"),
    ],
)
def test_invalid_option_value_gives_one_line(
    command: str, options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"file": tmp_path / "file", "folder": tmp_path}
    places["file"].write_text("")
    required = ["x.png", "--output", str(tmp_path / "out")] if command == "predict" else []
    assert main([command, *required, *(option.format(**places) for option in options)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"depth_anything_ros {command}: {message.format(**places)}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fov", "wide"], "argument --fov: 'wide' is not a number"),
        (["--every", "few"], "argument --every: 'few' is not a whole number"),
        (["--scale", "a,b"], "argument --scale: 'a,b' is not two finite numbers A,B"),
    ],
)
def test_invalid_argument_gives_usage_error(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["predict", "x.png", "--output", "out", *options])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "/absent.pth", "--size", "100x200", "--output", "OUT/x.onnx"], "multiples of 14, such as 98x196"),
        (["predict", "", "--output", "OUT", "--model", ""], "an input is empty"),
        (["export", "", "--output", "OUT/x.onnx"], "the model's name is empty"),
        (["verify", "/absent.onnx", "--images", "/absent.png"], "/absent.png: no such file"),
        (["demo", "--calibration", "/absent.yaml", "--source", "x", "--output", "OUT"], "/absent.yaml"),
    ],
)
def test_invalid_input_gives_one_line_and_no_output(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if arguments[0] == "demo":
        pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    assert main([word.replace("OUT", str(tmp_path / "out")) for word in arguments]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "out").exists()


def test_node_without_ros_names_fix() -> None:
    program = CORE_ONLY.replace("sys.exit(main())", "from depth_anything_ros.ros import entry_points\n") + (
        "sys.exit(entry_points.depth_node())"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("depth_node: No module named ")
    assert "; it comes with the extra ros: pip install '.[ros]'" in line
    assert line.endswith("where ROS 2 is installed, source its setup.bash instead")


@pytest.mark.parametrize("options", [[], ["--camera", "{broken}"], ["--camera", "/absent"]])
def test_cloud_without_camera_is_rejected_before_model(options: list[str], tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("no: calibration")
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"")
    words = [option.format(broken=tmp_path / "broken.yaml") for option in options]
    result = run(
        "predict", picture, "--output", tmp_path / "out", "--model", tmp_path / "absent.onnx", "--save", "ply", *words
    )
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "absent.onnx" not in line
    assert "--camera" in line or "broken.yaml" in line or "/absent:" in line


@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_output_stream_is_no_error(redirection: str) -> None:
    command = f"{sys.executable} -m depth_anything_ros models list {redirection}"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=limit(60))
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("arguments", [["train", "--settings"], ["models", "list"], []])
def test_closed_pipe_is_no_error(arguments: list[str]) -> None:
    if arguments == ["train", "--settings"]:
        pytest.importorskip("lightning_fabric", reason="the extra train")
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "depth_anything_ros", *arguments]
    stream = {"stdout": writer} if arguments else {"stderr": writer}
    result = subprocess.run(command, **{"stderr": subprocess.PIPE, **stream}, timeout=120)
    os.close(writer)
    assert result.returncode == PIPE_CLOSED if arguments else result.returncode in (2, PIPE_CLOSED)
    assert not result.stderr


def test_missing_input_gives_one_line(tmp_path: Path) -> None:
    absent = tmp_path / "absent.png"
    result = run("predict", absent, "--output", tmp_path / "out")
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("depth_anything_ros predict: ")
    assert str(absent) in line


def test_missing_model_gives_one_line(tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"")
    absent = tmp_path / "absent.onnx"
    result = run("predict", picture, "--model", absent, "--output", tmp_path / "out")
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert str(absent) in line or str(picture) in line


def test_unknown_model_name_gives_one_line() -> None:
    result = run("models", "show", "no_such_model")
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "no_such_model" in line


def test_unimportable_package_is_named_with_extra(monkeypatch, capsys, tmp_path):
    for name in [name for name in sys.modules if name.startswith("depth_anything_ros.synthetic")]:
        monkeypatch.delitem(sys.modules, name)
    pytest.importorskip("numba", reason="the extra train")
    monkeypatch.setitem(sys.modules, "numba.core", None)
    monkeypatch.delitem(sys.modules, "numba")
    assert main(["scenes", "--output", str(tmp_path)]) == 1
    assert "comes with the extra train: pip install '.[train]'" in capsys.readouterr().err
