"""The depth node's parameters, through its services and its file: live changes, rejections, descriptions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from node_services import call, set_parameter

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("onnx", reason="the test models are written with onnx")

from depth_node_graph import (
    INFO,
    WARN,
    floats,
    node_and_client,  # noqa: F401 - the fixture `graph`
    picture,
    private_context,  # noqa: F401 - the fixture `context`
)
from encoded_images import image_message
from known_models import write_constant_model
from rcl_interfaces.srv import DescribeParameters, ListParameters, SetParametersAtomically
from rclpy.node import Node
from rclpy.parameter import Parameter

from depth_anything_ros.processing.parameter_declarations import DECLARATIONS, Acts
from depth_anything_ros.processing.parameters import ModelParameters
from depth_anything_ros.ros.depth_node.node import DepthNode
from depth_anything_ros.ros.depth_node.parameter_documents import TABLE, YAML, parameter_file, parameter_table
from depth_anything_ros.ros.process.unknown_parameters import reject_unknown
from depth_anything_ros.runtime.estimator import Estimator


def test_live_parameters_apply_to_next_frame(graph, tmp_path):
    model = write_constant_model(tmp_path / "model.onnx", np.array([[0.1, 1.0, 5.0]], np.float32))
    _, client = graph(model)

    def depth() -> np.ndarray:
        image = client.publish_image(image_message(picture(1, 3), "rgb8"))
        return floats(client.wait_for("depth/image_rect", image))[0]

    assert set_parameter(client, "scale.a", 1.0)[0]
    client.wait_for_line(WARN, "scale.a and scale.b belong together")
    assert set_parameter(client, "scale.b", 0.0)[0]
    client.wait_for_line(INFO, "scale set: a = 1, b = 0")
    assert depth() == pytest.approx([10.0, 1.0, 0.2])
    assert set_parameter(client, "max_depth", 9.0)[0]
    assert set_parameter(client, "min_depth", 0.5)[0]
    assert depth().tolist() == [np.inf, 1.0, -np.inf]
    assert set_parameter(client, "scale.a", 2.0)[0]
    assert depth() == pytest.approx([5.0, 0.5, -np.inf])


def test_late_scale_opens_subscription_for_depth_subscriber(graph, tmp_path):
    node, client = graph(write_constant_model(tmp_path / "model.onnx", np.ones((1, 3), np.float32)), ())
    client.listen("depth/image_rect")
    client.spin_until(lambda: node.count_subscribers("depth/image_rect"), "the listener")
    assert client.count_subscribers("image") == 0
    for name, value in (("scale.a", 0.5), ("scale.b", 0.0)):
        assert set_parameter(client, name, value)[0]
    client.spin_until(lambda: client.count_subscribers("image"), "the subscription")
    image = client.publish_image(image_message(picture(1, 3), "rgb8"))
    assert floats(client.wait_for("depth/image_rect", image))[0] == pytest.approx([2.0, 2.0, 2.0])


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("min_depth", 80.0, "min_depth and max_depth: depth limits are 80.0 to 80.0 m"),
        ("max_depth", -1.0, "max_depth"),
        ("scale.a", -1.0, "scale.a is -1.0, must be positive"),
        ("scale.b", math.inf, "scale.b is inf, must be finite"),
        ("points.stride", 0, "points.stride"),
        (
            "input_range",
            "bright",
            "input_range: 'bright' is not an input range; give auto, full, percentile or LOW,HIGH",
        ),
        ("input_range", "9,7", "input_range: input range 9,7 must be 0 <= LOW < HIGH <= 65535"),
        ("backend", "abacus", "backend is 'abacus', must be one of auto, tensorrt"),
        ("precision", "fp3", "precision is 'fp3', must be one of auto"),
        ("image_transport", "compressed", "read-only"),
        ("cameras", ["left"], "read-only"),
        ("autostart", False, "read-only"),
    ],
)
def test_invalid_value_is_rejected_with_reason(graph, tmp_path, name, value, reason):
    node, client = graph(write_constant_model(tmp_path / "model.onnx", np.ones((1, 3))))
    before = str(node.get_parameter(name).value)
    successful, answer = set_parameter(client, name, value)
    assert not successful
    assert reason in answer or reason.replace("-", "_") in answer
    assert str(node.get_parameter(name).value) == before


def test_unknown_parameter_is_rejected_with_suggestion(graph, tmp_path):
    _, client = graph(write_constant_model(tmp_path / "model.onnx", np.ones((1, 3))))
    assert set_parameter(client, "max_dept", 9.0) == (
        False,
        "this node has no parameter max_dept; did you mean max_depth?",
    )
    request = SetParametersAtomically.Request(parameters=[Parameter("zzz", value=1).to_parameter_msg()])
    result = call(client, SetParametersAtomically, "set_parameters_atomically", request).result
    assert (result.successful, result.reason) == (False, "this node has no parameter zzz")
    node = Node("any", context=client.context)
    node.declare_parameter("frame_rate", 30.0)
    assert reject_unknown(node, [Parameter("frame_rat", value=3.0)]).reason.endswith("; did you mean frame_rate?")
    assert reject_unknown(node, [Parameter("frame_rate", value=3.0)]) is None
    node.destroy_node()


def test_dependent_parameters_are_checked_together(graph, tmp_path):
    _, client = graph(write_constant_model(tmp_path / "model.onnx", np.ones((1, 3))))
    assert set_parameter(client, "points.max_depth", 5.0)[0]
    successful, reason = set_parameter(client, "points.min_depth", 6.0)
    assert not successful
    assert "points.min_depth is 6.0 and points.max_depth 5.0" in reason
    successful, reason = set_parameter(client, "max_depth", 0.0)
    assert not successful
    assert "min_depth and max_depth" in reason
    assert set_parameter(client, "points.max_depth", 0.0)[0]
    successful, reason = set_parameter(client, "points.min_depth", 80.0)
    assert not successful
    assert "points.min_depth is 80.0 and max_depth 80.0" in reason
    assert set_parameter(client, "points.min_depth", 79.0)[0]


def test_input_height_alone_is_accepted_until_configure(graph, tmp_path):
    node, client = graph(write_constant_model(tmp_path / "model.onnx", np.ones((1, 3))))
    assert set_parameter(client, "input.height", 28)[0]
    with pytest.raises(ValueError, match=r"input.height is 28 and input.width is 0: set both"):
        node._declared.model()
    # Nor does it keep others from acting, or spoil them.
    assert set_parameter(client, "max_depth", 9.0)[0]
    assert node.streams[""].parameters.max_depth == 9.0
    assert not set_parameter(client, "scale.a", -1.0)[0]
    assert set_parameter(client, "input.width", 42)[0]
    assert node._declared.model().input_size == (28, 42)


def test_parameters_set_together_apply_all_or_none(graph, tmp_path):
    node, client = graph(write_constant_model(tmp_path / "model.onnx", np.ones((1, 3))))
    before = node.streams[""].parameters

    def set_together(**values: object) -> tuple[bool, str]:
        parameters = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        request = SetParametersAtomically.Request(parameters=parameters)
        result = call(client, SetParametersAtomically, "set_parameters_atomically", request).result
        return result.successful, result.reason

    successful, reason = set_together(**{"max_depth": 9.0, "scale.a": -1.0, "input.height": 28})
    assert not successful
    assert "scale.a is -1.0" in reason
    assert node.streams[""].parameters == before
    assert node._declared.model().input_size is None
    # What was refused is not held against the next.
    assert set_together(**{"max_depth": 8.0, "min_depth": 0.5})[0]
    assert node.streams[""].parameters.max_depth == 8.0
    assert node.get_parameter("scale.a").value != -1.0


def test_named_cameras_have_own_checked_parameters(graph, tmp_path):
    model = write_constant_model(tmp_path / "model.onnx", np.ones((1, 3)))
    node, client = graph(model, (), cameras=["left", "right"], right__max_rate=3.0, max_rate=7.0)
    rates = {name: stream.parameters.max_rate for name, stream in node.streams.items()}
    assert rates == {"left": 7.0, "right": 3.0}
    successful, reason = set_parameter(client, "right.scale.a", -1.0)
    assert not successful
    assert "scale.a is -1.0" in reason
    successful, reason = set_parameter(client, "max_rate", 5.0)
    assert not successful
    assert "set left.max_rate or right.max_rate" in reason
    assert set_parameter(client, "left.max_rate", 5.0)[0]
    assert node.streams["left"].parameters.max_rate == 5.0
    assert node.streams["right"].parameters.max_rate == 3.0


def test_every_parameter_has_description_and_limits(graph, tmp_path):
    _, client = graph(write_constant_model(tmp_path / "model.onnx", np.ones((1, 3))))
    declared = call(client, ListParameters, "list_parameters", ListParameters.Request()).result.names
    of_rclpy = ("qos_overrides.", "use_sim_time", "start_type_description_service")
    own = [name for name in declared if not name.startswith(of_rclpy)]
    assert sorted(own) == sorted(declaration.name for declaration in DECLARATIONS)
    answer = call(client, DescribeParameters, "describe_parameters", DescribeParameters.Request(names=own))
    described = {descriptor.name: descriptor for descriptor in answer.descriptors}
    for declaration in DECLARATIONS:
        descriptor = described[declaration.name]
        assert descriptor.description == declaration.description
        assert descriptor.read_only == (declaration.acts is Acts.START)
        assert bool(descriptor.integer_range or descriptor.floating_point_range) == (declaration.limits is not None)
        assert all(choice in descriptor.additional_constraints for choice in declaration.choices)


def test_parameter_file_and_docs_match_declarations(repository):
    assert (repository / YAML).read_text() == parameter_file(), "run `make documents`"
    assert (repository / TABLE).read_text() == parameter_table(), "run `make documents`"


def test_parameter_file_holds_defaults(context, tmp_path, repository):
    model = Estimator(write_constant_model(tmp_path / "model.onnx", np.ones((1, 3))))
    arguments = ["--ros-args", "--params-file", str(repository / "config" / "depth_node.yaml")]
    node = DepthNode(model, context=context, namespace="/defaults", cli_args=arguments)
    values = {declaration.name: node.get_parameter(declaration.name).value for declaration in DECLARATIONS}
    node.destroy_node()
    assert str(values) == str({declaration.name: declaration.default for declaration in DECLARATIONS})


@pytest.mark.parametrize(
    "names", [["a", "a"], ["", "a"], ["scale"], ["two words"], ["7th"], ["_left"], ["kamera_größe"], ["left\n"]]
)
def test_invalid_camera_names_are_rejected(context, names):
    override = Parameter("cameras", Parameter.Type.STRING_ARRAY, names)
    with pytest.raises(ValueError, match="cameras"):
        DepthNode(context=context, namespace="/names", parameter_overrides=[override])


@pytest.mark.parametrize("namespace", ["/", "/left/eye"])
def test_parameter_file_applies_in_any_namespace(context, tmp_path, repository, namespace):
    text = (repository / "config" / "depth_node.yaml").read_text()
    changed = tmp_path / "parameters.yaml"
    changed.write_text(text.replace("max_depth: 80.0", "max_depth: 33.0"))
    model = Estimator(write_constant_model(tmp_path / "model.onnx", np.ones((1, 3))))
    arguments = ["--ros-args", "--params-file", str(changed)]
    node = DepthNode(model, context=context, namespace=namespace, cli_args=arguments)
    assert node.get_parameter("max_depth").value == 33.0
    node.destroy_node()


def test_concurrent_declaration_keeps_pending_values(graph, tmp_path):
    """A subscription declares its QoS overrides, which calls back as a parameter that is set does."""
    node, client = graph(write_constant_model(tmp_path / "model.onnx", np.ones((1, 3), np.float32)), ())
    stream, declared = node.streams[""], node._declared
    # Another thread has had a value accepted, and has not told the stream yet.
    assert declared.change([Parameter("max_depth", value=7.0)]) == [""]
    assert stream.parameters.max_depth != 7.0
    client.listen("inverse_depth/image")
    client.spin_until(lambda: client.count_subscribers("image"), "the subscription")
    assert declared.streams[""].max_depth == 7.0
    assert declared.change([Parameter("qos_overrides./image.subscription.depth", value=1)]) == []
    assert set_parameter(client, "min_depth", 0.5)[0]
    assert (stream.parameters.min_depth, stream.parameters.max_depth) == (0.5, 7.0)


def test_nan_parameters_do_not_count_as_changed(graph, tmp_path):
    node, _ = graph(write_constant_model(tmp_path / "model.onnx", np.ones((1, 3), np.float32)), (), cameras=["a", "b"])
    assert math.isnan(node.streams["a"].parameters.scale_a)
    assert node._declared.change([Parameter("b.max_rate", value=3.0)]) == ["b"]
    assert node._declared.change([Parameter("max_depth", value=8.0)]) == ["a", "b"]
    assert node._declared.change([Parameter("max_depth", value=8.0)]) == []


def test_misspelled_parameters_warn_with_suggestion(graph, tmp_path):
    model = write_constant_model(tmp_path / "model.onnx", np.ones((1, 3), np.float32))
    parameters = {"max_dpeth": 3.0, "of_nobody": 1, "qos_overrides__{namespace}/image__subscription__depth": 2}
    _, client = graph(model, (), **parameters)
    client.wait_for_line(WARN, "this node has no parameter max_dpeth, ignored; did you mean max_depth?")
    client.wait_for_line(WARN, "this node has no parameter of_nobody, ignored")
    assert not any("qos_overrides" in line for line in client.lines(WARN))


def test_record_path_expands_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/robot")
    defaults = {declaration.name: declaration.default for declaration in DECLARATIONS}
    assert ModelParameters.of(defaults | {"record": "~/model.json"}).record == "/home/robot/model.json"
    assert ModelParameters.of(defaults).record is None


def test_negative_scale_b_warns(graph, tmp_path):
    _, client = graph(write_constant_model(tmp_path / "model.onnx", np.ones((1, 3), np.float32)))
    for name, value in (("scale.a", 1.0), ("scale.b", -1.0)):
        assert set_parameter(client, name, value)[0]
    client.wait_for_line(WARN, "scale set: a = 1, b = -1; b is negative")
