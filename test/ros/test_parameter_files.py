"""Which nodes read a parameter file: our rule, a reference implementation and rclpy itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depth_anything_ros.ros.parameter_files import (
    ParameterFileError,
    check_command_line,
    matches,
    section_keys,
    texts,
    unread,
    unread_on_command_line,
)

DEPTH, CAMERA = "/camera/depth_node", "/camera/camera_node"
ROOT_NODE, DEEP_NODE = "/depth_node", "/a/b/depth_node"


def reference(key: list[str], node: list[str]) -> bool:
    """The rule of the design article "Node names": ``*`` is one token, ``**`` is zero or more tokens."""
    if not key:
        return not node
    if key[0] == "**":
        return any(reference(key[1:], node[taken:]) for taken in range(len(node) + 1))
    return bool(node) and key[0] in ("*", node[0]) and reference(key[1:], node[1:])


names = st.sampled_from(["a", "b", "camera", "depth_node", "Depth_node", "n1"])


@given(st.lists(st.one_of(names, st.sampled_from(["*", "**"])), min_size=1, max_size=5), st.lists(names, min_size=1))
def test_wildcards_match_one_or_any_number_of_names(key: list[str], node: list[str]) -> None:
    expected = reference(key, node)
    assert matches("/" + "/".join(key), "/" + "/".join(node)) == expected
    assert matches("/".join(key), "/" + "/".join(node)) == expected


KEYS = (
    *("/**", "**", "/*", "*", "/**/depth_node", "**/depth_node", "depth_node", "/depth_node", "/camera/depth_node"),
    *("camera/depth_node", "/*/depth_node", "/camera/*", "/camera/**", "/*/*", "/**/*", "/*/**", "/a/*/depth_node"),
    *("/a/**", "/**/b/depth_node", "/**/Depth_node", "/a/**/depth_node", "/**/depth_node/**", "/**/*/*", "/*/*/*"),
)


def test_rclpy_reads_same_sections(tmp_path: Path) -> None:
    rclpy = pytest.importorskip("rclpy", reason="needs ROS 2")
    from rclpy.context import Context
    from rclpy.node import Node

    path = tmp_path / "parameters.yaml"
    path.write_text(json.dumps({key: {"ros__parameters": {f"p{number}": 1}} for number, key in enumerate(KEYS)}))
    assert section_keys(path) == list(dict.fromkeys(key if key[0] == "/" else f"/{key}" for key in KEYS))
    context = Context()
    rclpy.init(args=[], context=context)
    try:
        for full_name in (DEPTH, ROOT_NODE, DEEP_NODE):
            namespace, _, name = full_name.rpartition("/")
            arguments = ["--ros-args", "--params-file", str(path)]
            node = Node(
                name,
                namespace=namespace,
                context=context,
                cli_args=arguments,
                automatically_declare_parameters_from_overrides=True,
                start_parameter_services=False,
            )
            read = {key for number, key in enumerate(KEYS) if node.has_parameter(f"p{number}")}
            node.destroy_node()
            assert read == {key for key in KEYS if matches(key, full_name)}
    finally:
        rclpy.shutdown(context=context)


def written(folder: Path, text: str) -> Path:
    path = folder / "parameters.yaml"
    path.write_text(text)
    return path


def test_nested_namespaces_and_repeated_keys_are_read(tmp_path: Path) -> None:
    section = "ros__parameters: {a: 1}"
    nested = f"camera:\n  depth_node:\n    {section}\n/**:\n  {section}\n/**:\n  {section}\n---\n/x:\n  {section}\n"
    assert section_keys(written(tmp_path, nested)) == ["/camera/depth_node", "/**", "/x"]
    assert section_keys(written(tmp_path, "# nothing yet\n")) == []


def test_texts_come_from_last_matching_section(tmp_path: Path) -> None:
    sections = {"/**": ["a"], "/**/depth_node": ["b", "c"], "/x": ["d"]}
    path = written(
        tmp_path, json.dumps({key: {"ros__parameters": {"cameras": value}} for key, value in sections.items()})
    )
    assert texts(path, DEPTH, "cameras") == ["b", "c"]
    assert texts(path, CAMERA, "cameras") == ["a"]
    assert texts(path, DEPTH, "model") == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("hello\n", "has no sections"),
        ("- a\n", "has no sections"),
        ("/**/depth_node: [\n", "not valid YAML"),
        ("/**:\n\tros__parameters:\n", "not valid YAML"),
        (
            "/**/depth_node:\n  max_depth: 3.0\n",
            "line 2: max_depth is not under ros__parameters; write /**/dep",
        ),
        ("max_depth: 3.0\n", "line 1: max_depth is not under ros__parameters"),
        ("/**/depth_node:\n  ros_parameters:\n    max_depth: 3.0\n", "ros_parameters must be ros__parameters"),
        ("/**/depth_node:\n  ros__parameter:\n    max_depth: 3.0\n", "ros__parameter must be ros__parameters"),
        ("/**/depth_node:\n  parameters:\n    max_depth: 3.0\n", "parameters must be ros__parameters"),
        ("ros__parameters:\n  max_depth: 3.0\n", "must be under a node's name"),
        ("/**/depth_node:\n  ros__parameters:\nmax_depth: 3.0\n", "ros__parameters has no parameters under it"),
        ("/**/depth_node:\n", "is not under ros__parameters"),
        ("/camera:\n  /depth_node:\n    ros__parameters: {a: 1}\n", "is not a valid node name"),
        ("/cam*/depth_node:\n  ros__parameters: {a: 1}\n", "'cam*' must consist of"),
        ("/front-left/depth_node:\n  ros__parameters: {a: 1}\n", "'front-left' must consist of"),
        ("/a: &x\n  b: *x\n", "an alias"),
        ("? [1, 2]\n: 3\n", "must be a name"),
    ],
)
def test_invalid_parameter_file_raises_with_fix(tmp_path: Path, text: str, told: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ParameterFileError) as caught:
        section_keys(path)
    assert str(path) in str(caught.value)
    assert told in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_file_with_byte_order_mark_is_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "parameters.yaml"
    path.write_bytes("/**:\r\n  ros__parameters: {a: 1}\r\n".encode(encoding))
    assert section_keys(path) == ["/**"]


def test_binary_file_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "parameters.yaml"
    for data in (b"\x89PNG\r\n\x1a\n\x00\xff", b"/**: \xff\n", b"\xff\xfe/"):
        path.write_bytes(data)
        with pytest.raises(ParameterFileError, match="not valid YAML"):
            section_keys(path)


@given(data=st.one_of(st.binary(max_size=60), st.text("/*:-?&[]{}'\"ab \n\t", max_size=60).map(str.encode)))
def test_arbitrary_bytes_are_read_or_rejected(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(data)
    try:
        keys = section_keys(path)
    except ParameterFileError:
        return
    assert all(key.startswith("/") for key in keys)


@pytest.mark.parametrize(
    ("keys", "nodes", "told"),
    [
        (["/depth_node"], [DEPTH], "/**/depth_node: or /camera/depth_node:"),
        (["/**/depht_node"], [DEPTH], "/**/depht_node"),
        (["/front/depth_node"], [DEPTH], "/front/depth_node"),
        (["/other"], [DEPTH, CAMERA], "no section for /camera/depth_node or /camera/camera_node"),
        (["/**", "/depth_node"], [DEPTH], "section /depth_node"),
        (["/**/camera_node", "/depth_node"], [DEPTH, CAMERA], "section /depth_node"),
        (["/**/depth_node", "/Camera_Node"], [DEPTH, CAMERA], "section /Camera_Node"),
        (["/front/*"], [DEPTH], "it has /front/*"),
        (["/**/depth_node"], [DEPTH], ""),
        (["/**"], [DEPTH, CAMERA], ""),
        (["/**/depth_node"], [DEPTH, CAMERA], ""),
        (["/**/depth_node", "/**/camera_node"], [DEPTH], ""),
        (["/left/depth_node", "/camera/depth_node"], [DEPTH], ""),
        (["/**", "/amcl", "/planner_server"], [DEPTH], ""),
        ([], [DEPTH], ""),
    ],
)
def test_unread_sections_are_reported_with_fix(keys: list[str], nodes: list[str], told: str) -> None:
    trouble = unread(keys, nodes)
    assert told in trouble
    assert bool(trouble) == bool(told)


def test_command_line_options_are_checked(tmp_path: Path) -> None:
    wrong = written(tmp_path, "depth_node:\n  ros__parameters: {max_depth: 3.0}\n")
    ros = ["--ros-args", "--params-file", str(wrong), "-p", "depth_node:max_depth:=3.0", "-p", "max_depth:=2.0"]
    file, rule = unread_on_command_line(["node", *ros], [DEPTH])
    assert file.startswith(f"--params-file {wrong}: section /depth_node")
    assert rule.startswith("-p depth_node:max_depth:=3.0: ")
    assert unread_on_command_line(["node", *ros], [ROOT_NODE]) == []
    for stray in (ros[1:], ["--ros-args", "--", *ros[1:]]):
        file, *rules = unread_on_command_line(["node", *stray], [ROOT_NODE])
        assert file == f"--params-file {wrong}: it does not follow --ros-args and is ignored; write {' '.join(ros[:3])}"
        assert len(rules) == 2
    assert unread_on_command_line(["--ros-args", "--params-file"], [DEPTH]) == []  # ROS refuses that itself
    check_command_line(["node", *ros])
    with pytest.raises(FileNotFoundError, match=r"absent\.yaml"):
        check_command_line(["node", "--ros-args", "--params-file", "absent.yaml"])


@pytest.mark.parametrize("command", [["ros.depth_node"], ["cli", "camera", "--model", "absent.onnx"]])
def test_node_warns_of_unread_parameter_file(tmp_path: Path, command: list[str]) -> None:
    pytest.importorskip("rclpy", reason="needs ROS 2")
    wrong = written(tmp_path, "/**/dept_node:\n  ros__parameters: {max_depth: 3.0}\n")
    right = tmp_path / "right.yaml"
    right.write_text("/**/depth_node:\n  ros__parameters: {model: absent.onnx, max_dept: 3.0}\n")
    module, *words = command
    arguments = ["--ros-args", "--params-file", str(right), "--params-file", str(wrong)]
    ran = subprocess.run(
        [sys.executable, "-m", f"depth_anything_ros.{module}", *words, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 1
    assert f"--params-file {wrong}: section /**/dept_node does not match the node /" in ran.stderr
    assert f"--params-file {right}" not in ran.stderr
    assert "this node has no parameter max_dept, ignored; did you mean max_depth?" in ran.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--ros-args", "--params-file", "flat.yaml"], "flat.yaml, line 1: max_depth is not under ros__parameters"),
        (["--ros-args", "-r", "__ns:=/front-left"], "front-left"),
        (["--namespace", "front-left"], "Invalid namespace"),
        (["--namespace", "front/"], "must not end with a '/'"),
    ],
)
def test_invalid_command_line_ends_process_with_one_line(tmp_path: Path, words: list[str], told: str) -> None:
    pytest.importorskip("rclpy", reason="needs ROS 2")
    (tmp_path / "flat.yaml").write_text("max_depth: 3.0\n")
    command = [sys.executable, "-m", "depth_anything_ros.cli", "camera", "--model", "absent.onnx", *words]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert ran.returncode == 1
    (line,) = [line for line in ran.stderr.splitlines() if "cannot go on" in line]
    assert told in line
    assert "Traceback" not in ran.stderr
