"""The doctor reports the diagnostics of a running depth node."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("onnx", reason="the test models are written with onnx")

from depth_node_graph import (
    node_and_client,  # noqa: F401 - the fixture `graph`
    private_context,  # noqa: F401 - the fixture `context`
)
from known_models import write_constant_model
from waiting import limit


def test_warning_of_a_running_node_is_a_note(graph, tmp_path: Path) -> None:
    """Whatever the node's name: a robot may have renamed it."""
    model = write_constant_model(tmp_path / "unscaled.onnx", np.full((4, 6), 2.0))
    node, client = graph(model, (), ("__node:=eyes",))
    assert node.get_name() == "eyes"
    client.listen("depth/image_rect")
    command = [sys.executable, "-m", "depth_anything_ros", "doctor", "--json", "--only", "nodes"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=limit(60))
    (section,) = json.loads(result.stdout)["sections"]
    name = f"{node.get_fully_qualified_name().lstrip('/')}: "
    (finding,) = [one for one in section["findings"] if one["text"].startswith(name)]
    assert finding["level"] == "note"
    assert "no depth, because the model is relative and the scale is unknown" in finding["text"]
    assert {report["level"] for report in section["facts"]["reports"] if report["name"].startswith(name)} == {0, 1}
