"""Metric models are correct with every lens, in the node and in `predict`, and report when they cannot be."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("onnx", reason="the test models are written with onnx")
pytest.importorskip("numba", reason="the renderer needs numba, of the extra `train`")

from depth_node_graph import (
    INFO,
    WARN,
    floats,
    node_and_client,  # noqa: F401 - the fixture `graph`
    positions,
    private_context,  # noqa: F401 - the fixture `context`
)
from diagnostic_msgs.msg import DiagnosticStatus
from diagnostic_reports import Reports
from encoded_images import image_message
from focal_scenes import (
    FIELDS_OF_VIEW,
    NETWORK,
    TRAINING_FOCAL,
    pixels_of,
    rendered,
    seen_by_the_network,
    write_metric_model,
)
from known_models import write_constant_model, write_red_model
from ply_files import read_ply
from rclpy.parameter import Parameter
from ros_messages import camera_info

from depth_anything_ros.cli import main
from depth_anything_ros.evaluation.scored_sets import SCORED_SETS
from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.postprocessing.meters import Scale, focal_gain, output_to_depth
from depth_anything_ros.ros.depth_node import diagnostics

pytestmark = pytest.mark.usefixtures("renderer")

DEPTH = "depth/image_rect"
OUTPUTS = (DEPTH, "depth/image_raw", "points", "depth/camera_info")


@pytest.fixture(autouse=True)
def quick_diagnostics(monkeypatch):
    monkeypatch.setattr(diagnostics, "PERIOD", 0.2)


def info_of(camera: Camera, **fields: object):
    """The camera_info of a rectified image of this camera with twice the pixels."""
    camera = camera.resized(2 * camera.width, 2 * camera.height)
    k = [camera.fx, 0.0, camera.cx, 0.0, camera.fy, camera.cy, 0.0, 0.0, 1.0]
    p = [camera.fx, 0.0, camera.cx, 0.0, 0.0, camera.fy, camera.cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return camera_info(camera.width, camera.height, d=[0.0] * 5, k=k, p=p, **fields)


def seen(field_of_view: float, reference: float = TRAINING_FOCAL) -> tuple[np.ndarray, np.ndarray, Camera]:
    return seen_by_the_network(field_of_view, reference)


def assert_within_one_percent(found: np.ndarray, true: np.ndarray) -> None:
    assert np.abs(found / true - 1).max() < 0.01


@pytest.mark.parametrize("field", ["training_focal", "canonical_focal"])
def test_node_corrects_depth_for_every_lens(graph, tmp_path, field):
    reference = TRAINING_FOCAL if field == "training_focal" else 300.0
    _, client = graph(write_metric_model(tmp_path / "exact.onnx", **{field: reference}), OUTPUTS)
    client.wait_for_line(INFO, f"for a focal length of {reference:.1f} px at its input, corrected")
    for field_of_view in FIELDS_OF_VIEW:
        true, image, camera = seen(field_of_view, reference)
        cloud = client.publish_until_cloud(image_message(image, "rgb8"), info_of(camera))
        depth = floats(client.wait_for(DEPTH, cloud))
        assert_within_one_percent(depth, true)
        in_cloud = positions(cloud)[..., 2]
        is_point = np.isfinite(in_cloud)
        assert is_point.mean() > 0.6
        assert in_cloud[is_point] == pytest.approx(depth[is_point], rel=1e-6)
        raw = client.wait_for("depth/image_raw", cloud)
        millimeters = np.frombuffer(raw.data, np.uint16).reshape(depth.shape)
        assert np.abs(millimeters - 1000 * depth).max() <= 0.51


def test_focal_length_is_scaled_to_network_input(graph, tmp_path):
    """A camera_info of a binned sensor, an image that is raw, and outputs of another size change nothing."""
    true, _ = rendered(100.0)
    _, image, camera = seen(100.0)
    model = write_metric_model(tmp_path / "exact.onnx", training_focal=TRAINING_FOCAL)
    _, client = graph(model, ("points", DEPTH), output__width=NETWORK[1], rectified=False)
    info = info_of(camera)
    info.width, info.height, info.binning_x, info.binning_y = 2 * info.width, 2 * info.height, 2, 2
    info.k[:6] *= 2
    info.p[:8] *= 2
    info.roi.width, info.roi.height = info.width, info.height
    cloud = client.publish_until_cloud(image_message(image, "rgb8"), info)
    depth = floats(client.wait_for(DEPTH, cloud))
    assert depth.shape == NETWORK
    assert_within_one_percent(depth, true)


def test_depth_without_camera_info_is_published_uncorrected(graph, tmp_path):
    true, image, camera = seen(100.0)
    node, client = graph(write_metric_model(tmp_path / "exact.onnx", training_focal=TRAINING_FOCAL), (DEPTH, "points"))
    for _ in range(3):  # an image before its camera_info is no trouble yet
        depth = floats(client.wait_for(DEPTH, client.publish_image(image_message(image, "rgb8"))))
        assert_within_one_percent(depth * camera.fx / TRAINING_FOCAL, true)
    client.wait_for_line(WARN, "depth is UNCORRECTED for the lens")

    reports = Reports(node, client)

    def uncorrected(status, values) -> bool:
        client.publish_image(image_message(image, "rgb8"))
        return status.level == DiagnosticStatus.WARN and "UNCORRECTED" in status.message

    assert reports.wait_for("camera", uncorrected)["scale"] == "uncorrected"
    assert sum("UNCORRECTED" in line for line in client.lines(WARN)) == 1

    client.publish_until_cloud(image_message(image, "rgb8"), info_of(camera))
    values = reports.wait_for("camera", lambda _, values: values["scale"] == "metric")
    assert float(values["meters multiplied for the lens by"]) == pytest.approx(camera.fx / TRAINING_FOCAL, rel=1e-3)


def test_camera_info_of_other_size_corrects_nothing(graph, tmp_path):
    true, image, camera = seen(100.0)
    _, client = graph(write_metric_model(tmp_path / "exact.onnx", training_focal=TRAINING_FOCAL), (DEPTH,))
    info = info_of(camera)
    info.width += 2
    client.publish_info(info)
    for _ in range(3):  # an image before its camera_info is no trouble yet
        depth = floats(client.wait_for(DEPTH, client.publish_image(image_message(image, "rgb8"))))
        assert_within_one_percent(depth * camera.fx / TRAINING_FOCAL, true)
    client.wait_for_line(WARN, "depth is UNCORRECTED for the lens")


def test_focal_correction_can_be_switched(graph, tmp_path):
    true, image, camera = seen(100.0)
    model = write_metric_model(tmp_path / "exact.onnx", training_focal=TRAINING_FOCAL)
    node, client = graph(model, (DEPTH, "points"), scale__focal_correction=False)
    client.wait_for_line(INFO, "UNCORRECTED for the lens, because scale.focal_correction is false")
    assert Reports(node, client).wait_for("camera", lambda *_: True)["scale"] == "uncorrected"
    for correction, gain in ((False, camera.fx / TRAINING_FOCAL), (True, 1.0)):
        node.set_parameters([Parameter("scale.focal_correction", value=correction)])
        cloud = client.publish_until_cloud(image_message(image, "rgb8"), info_of(camera))
        depth = floats(client.wait_for(DEPTH, cloud))
        assert_within_one_percent(depth * gain, true)


def test_model_without_focal_dependence_is_not_corrected(graph, tmp_path):
    true, image, camera = seen(100.0, reference=Camera.from_field_of_view(64, 48, 100.0).fx)
    _, client = graph(write_metric_model(tmp_path / "exact.onnx"), (DEPTH, "points"))
    cloud = client.publish_until_cloud(image_message(image, "rgb8"), info_of(camera))
    assert_within_one_percent(floats(client.wait_for(DEPTH, cloud)), true)
    assert not any("UNCORRECTED" in line for line in client.lines(WARN))


def test_model_of_unknown_training_focal_warns(graph, tmp_path):
    _, client = graph(write_metric_model(tmp_path / "exact.onnx", encoder="vits", version="v2"), (DEPTH,))
    client.wait_for_line(
        WARN, "correct only for the focal length of its training: pass that to `export --training-focal`"
    )


@pytest.mark.parametrize("min_depth", [0.0, 0.1])
def test_zero_and_negative_meters_become_nan(graph, tmp_path, min_depth):
    meters = np.array([[0.0, -0.0, -1.0, 1.5, np.nan, 2.5]] * 4, np.float32)
    model = write_constant_model(tmp_path / "model.onnx", meters, "depth", training_focal=10.0)
    _, client = graph(model, (*OUTPUTS, "depth/image_color"), min_depth=min_depth, flying_pixels__threshold=0.0)
    camera = Camera.from_field_of_view(6, 4, 60.0)
    info = info_of(camera)
    info.width, info.height = 6, 4
    info.k[:6] = [10.0, 0.0, 2.5, 0.0, 10.0, 1.5]
    info.p[:8] = [10.0, 0.0, 2.5, 0.0, 0.0, 10.0, 1.5, 0.0]
    cloud = client.publish_until_cloud(image_message(np.zeros((4, 6, 3), np.uint8), "rgb8"), info)
    expected = np.array([[np.nan, np.nan, np.nan, 1.5, np.nan, 2.5]] * 4, np.float32)
    assert floats(client.wait_for(DEPTH, cloud)) == pytest.approx(expected, nan_ok=True)
    assert np.isfinite(positions(cloud)).all(axis=-1).tolist() == np.isfinite(expected).tolist()
    raw = client.wait_for("depth/image_raw", cloud)
    assert np.frombuffer(raw.data, np.uint16).reshape(4, 6).tolist() == [[0, 0, 0, 1500, 0, 2500]] * 4
    color = client.wait_for("depth/image_color", cloud)
    is_black = ~np.frombuffer(color.data, np.uint8).reshape(4, 6, 3).any(axis=-1)
    assert is_black.tolist() == np.isnan(expected).tolist()


@pytest.mark.parametrize(
    ("scale", "parameters", "expected"),
    [
        ("depth_scale", {"scale__a": 3.0}, 3.0),
        ("depth_scale", {"scale__a": 3.0, "scale__b": 5.0}, 3.0),
        ("depth_affine", {"scale__a": 3.0, "scale__b": 0.5}, 3.5),
    ],
)
def test_scale_models_convert_depth(graph, tmp_path, scale, parameters, expected):
    model = write_constant_model(tmp_path / "model.onnx", np.full((4, 6), 1.0), "depth", scale=scale)
    node, client = graph(model, (DEPTH,), **parameters)
    depth = floats(client.wait_for(DEPTH, client.publish_image(image_message(np.zeros((4, 6, 3), np.uint8), "rgb8"))))
    assert depth == pytest.approx(expected)
    assert node.streams[""].scale.state == "set"


@pytest.mark.parametrize(("scale", "named"), [("depth_scale", "scale.a (depth = a * output)"), ("depth_affine", "+ b")])
def test_relative_depth_without_scale_publishes_only_color(graph, tmp_path, scale, named):
    model = write_red_model(tmp_path / "model.onnx", (4, 6), "depth", scale=scale)
    node, client = graph(model, ("depth/image_color", DEPTH))
    assert named in client.wait_for_line(WARN, "only its colors are published")
    image = np.zeros((4, 6, 3), np.uint8)
    image[:, :3, 0], image[:, 3:, 0] = 50, 200
    drawn = client.wait_for("depth/image_color", client.publish_image(image_message(image, "rgb8")))
    bgr = np.frombuffer(drawn.data, np.uint8).reshape(4, 6, 3).astype(int)
    warmth = bgr[..., 2] - bgr[..., 0]
    assert warmth[:, 0].mean() > warmth[:, -1].mean() + 50  # what is nearer is warmer
    topics = dict(client.get_publisher_names_and_types_by_node("depth_node", node.get_namespace()))
    assert f"{node.get_namespace()}/inverse_depth/image" not in topics
    assert not client.received[DEPTH]


# ---- predict and evaluate


def predict(tmp_path: Path, image: np.ndarray, model: Path, *options: object) -> tuple[np.ndarray, dict, np.ndarray]:
    """Return the array, the report and the cloud, which is empty without a camera."""
    assert cv2.imwrite(str(tmp_path / "scene.png"), image[..., ::-1])
    save = ["npy", "png", "ply"] if options else ["npy", "png"]
    words = [
        "predict",
        tmp_path / "scene.png",
        "--model",
        model,
        "--output",
        tmp_path / "out",
        "--save",
        *save,
        *options,
    ]
    assert main([str(word) for word in words]) == 0
    cloud = read_ply(tmp_path / "out" / "scene.ply") if options else np.empty(0)
    report = json.loads((tmp_path / "out" / "predict.json").read_text())
    return np.load(tmp_path / "out" / "scene.npy"), report, cloud


@pytest.mark.parametrize("field_of_view", FIELDS_OF_VIEW)
def test_predict_corrects_depth_for_every_lens(tmp_path, field_of_view):
    true, image, camera = seen(field_of_view)
    model = write_metric_model(tmp_path / "exact.onnx", training_focal=TRAINING_FOCAL)
    values, report, cloud = predict(tmp_path, image, model, "--fov", field_of_view)
    assert_within_one_percent(values, true)
    assert sorted(cloud["z"]) == pytest.approx(sorted(values.ravel()), rel=1e-6)
    assert report["unit"] == "meters"
    assert report["focal_length"].startswith("corrected")
    assert report["files"][0]["multiplied_for_the_lens_by"] == pytest.approx(camera.fx / TRAINING_FOCAL, rel=1e-5)


def test_predict_uses_focal_length_of_calibration(tmp_path):
    true, image, camera = seen(35.0)
    twice = camera.resized(2 * camera.width, 2 * camera.height)
    numbers = [twice.fx, 0.0, twice.cx, 0.0, twice.fy, twice.cy, 0.0, 0.0, 1.0]
    (tmp_path / "camera.yaml").write_text(
        f"image_width: {twice.width}\nimage_height: {twice.height}\ndistortion_model: plumb_bob\n"
        f"camera_matrix: {{rows: 3, cols: 3, data: {numbers}}}\n"
        "distortion_coefficients: {rows: 1, cols: 5, data: [0.0, 0.0, 0.0, 0.0, 0.0]}\n"
    )
    model = write_metric_model(tmp_path / "exact.onnx", training_focal=TRAINING_FOCAL)
    assert_within_one_percent(predict(tmp_path, image, model, "--camera", tmp_path / "camera.yaml")[0], true)


def test_predict_without_camera_reports_uncorrected_depth(tmp_path, capsys):
    true, image, camera = seen(100.0)
    model = write_metric_model(tmp_path / "exact.onnx", training_focal=TRAINING_FOCAL)
    values, report, _ = predict(tmp_path, image, model)
    assert_within_one_percent(values * camera.fx / TRAINING_FOCAL, true)
    assert report["focal_length"].startswith("uncorrected")
    assert "give --fov or --camera" in capsys.readouterr().err


def test_predict_writes_invalid_meters_as_nan(tmp_path):
    model = write_constant_model(tmp_path / "model.onnx", np.array([[0.0, -1.0, 2.0]] * 2), "depth")
    values, _, cloud = predict(tmp_path, np.zeros((2, 3, 3), np.uint8), model, "--fov", 60)
    assert values == pytest.approx(np.array([[np.nan, np.nan, 2.0]] * 2), nan_ok=True)
    assert cloud["z"].tolist() == [2.0, 2.0]
    picture = cv2.imread(str(tmp_path / "out" / "scene.png"))
    assert picture.any(axis=-1).tolist() == [[False, False, True]] * 2


@pytest.mark.parametrize(
    ("scale", "given", "depth"),
    [("depth_scale", "3", 3.0), ("depth_affine", "3,0.5", 3.5), ("inverse_affine", "0.5,0", 2)],
)
def test_predict_applies_scale_of_each_scale_model(tmp_path, scale, given, depth):
    output = "inverse_depth" if scale == "inverse_affine" else "depth"
    model = write_constant_model(tmp_path / "model.onnx", np.full((2, 3), 1.0), output, scale=scale)
    values, report, cloud = predict(tmp_path, np.zeros((2, 3, 3), np.uint8), model, "--fov", 60, "--scale", given)
    assert np.all(values == 1.0)
    assert cloud["z"] == pytest.approx(depth)
    assert "unknown scale" in report["unit"]


@pytest.mark.parametrize(
    ("scale", "given", "fix"), [("depth_scale", "3,1", "--scale A alone"), ("depth_affine", "3", "A,B")]
)
def test_predict_scale_with_wrong_count_names_fix(tmp_path, capsys, scale, given, fix):
    model = write_constant_model(tmp_path / "model.onnx", np.full((2, 3), 1.0), "depth", scale=scale)
    cv2.imwrite(str(tmp_path / "scene.png"), np.zeros((2, 3, 3), np.uint8))
    words = [tmp_path / "scene.png", "--model", model, "--output", tmp_path / "out", "--save", "ply", "--fov", 60]
    assert main(["predict", *map(str, words), "--scale", given]) == 1
    assert fix in capsys.readouterr().err


@pytest.mark.parametrize("is_told", [True, False])
def test_evaluation_corrects_meters_by_camera_of_set(tmp_path, monkeypatch, capsys, is_told):
    source = SCORED_SETS["tum"].source
    told = replace(source, camera=source.camera if is_told else None)
    monkeypatch.setitem(SCORED_SETS, "tum", replace(SCORED_SETS["tum"], source=told))
    depth, _ = rendered(60.0)
    folder = tmp_path / "data" / "tum"
    folder.mkdir(parents=True)
    gain = source.camera[0] / 2 / TRAINING_FOCAL
    cv2.imwrite(str(folder / "0_color.png"), pixels_of(depth / gain)[..., ::-1])
    true = np.rint(5000 * depth.repeat(2, axis=0).repeat(2, axis=1)).astype(np.uint16)
    cv2.imwrite(str(folder / "0_depth.png"), true)
    if is_told:
        camera = SCORED_SETS["tum"].read(tmp_path / "data", SCORED_SETS["tum"].frame_names(tmp_path / "data")[0]).camera
        assert (camera.fx, camera.fy) == source.camera[:2]
    model = write_metric_model(tmp_path / "exact.onnx", training_focal=TRAINING_FOCAL)
    words = ["evaluate", "--data", tmp_path / "data", "--sets", "tum", "--model", model, "--no-baselines"]
    assert main([str(word) for word in (*words, "--json", tmp_path / "scores.json")]) == 0
    (row,) = [
        row for row in json.loads((tmp_path / "scores.json").read_text())["sets"][0]["rows"] if not row["aligned"]
    ]
    if is_told:
        assert row["scores"]["abs_rel"] < 0.05
        assert row["uncorrected"] == []
    else:
        assert row["scores"]["abs_rel"] == pytest.approx(1 - 1 / gain, abs=0.05)
        assert row["uncorrected"] == ["tum/0_color.png"]
        assert "1 of 1 images have an unknown focal length" in capsys.readouterr().err


# ---- the numbers themselves

sides = st.integers(1, 4000)
focals = st.floats(1, 5000)
shapes = st_numpy.array_shapes(min_dims=2, max_dims=2, max_side=70)


@given(sides, sides, focals, focals, sides, sides, focals)
def test_focal_gain_uses_mean_focal_length_at_network_input(width, height, fx, fy, columns, rows, reference):
    camera = Camera(width, height, fx, fy, 0.3 * width, 0.6 * height)
    expected = (fx * columns / width + fy * rows / height) / 2 / reference
    assert focal_gain(camera, (rows, columns), reference) == pytest.approx(expected)
    # The outputs' size is no matter: it is the same camera.
    assert focal_gain(camera.resized(7, 5), (rows, columns), reference) == pytest.approx(expected)


@given(
    st_numpy.arrays(
        np.float32, st_numpy.array_shapes(min_dims=2, max_dims=2, max_side=70), elements=st.floats(width=32)
    ),
    st.sampled_from(["metric", "depth_scale", "depth_affine"]),
    st.floats(0.015625, 64, width=32),
    st.floats(-8, 8, width=32),
)
def test_output_to_depth_matches_formula_in_place(values, scale_model, a, b):
    b = b if scale_model == "depth_affine" else 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        line = np.float32(a) * values + np.float32(b)
        expected = np.where(line > 0, line, np.float32(np.nan))
    found = output_to_depth(values, scale_model, Scale(a, b))
    assert found.dtype == np.float32
    assert np.array_equal(found, expected, equal_nan=True)
    assert output_to_depth(values, scale_model, Scale(a, b), out=values) is values
    assert np.array_equal(values, expected, equal_nan=True)
