"""What a layout file of Foxglove may contain, and which topics it shows.

The keys are those of the panels in Lichtblick, the open successor of Foxglove Studio, read on 2026-12-01:
https://github.com/lichtblick-suite/lichtblick/tree/main/packages/suite-base/src, in
context/CurrentLayoutContext/actions.ts, panels/ThreeDeeRender (IRenderer.ts, camera.ts, renderables/),
panels/diagnostics/types.ts and panels/RawMessagesCommon.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

LAYOUT = {"configById", "layout", "globalVariables", "userNodes", "playbackConfig", "version"}
SPLIT = {"direction", "first", "second", "splitPercentage"}
CAMERA_STATE = {
    *("distance", "perspective", "phi", "target", "targetOffset", "targetOrientation", "thetaOffset", "fovy"),
    *("near", "far"),
}
COLORS = {
    *("colorMode", "flatColor", "colorField", "gradient", "colorMap", "explicitAlpha", "minValue", "maxValue"),
}
VISIBLE = {"visible", "frameLocked"}
CLOUD = VISIBLE | COLORS | {"pointSize", "pointShape", "decayTime", "stixelsEnabled"}
CAMERA_INFO = VISIBLE | {"distance", "planarProjectionFactor", "width", "color"}
IMAGE_MODE = COLORS | {
    *("imageTopic", "calibrationTopic", "annotations", "synchronize", "rotation", "brightness", "contrast"),
    *("flipHorizontal", "flipVertical"),
}
SCENE = {
    *("cameraState", "followTf", "followMode", "scene", "publish", "transforms", "topics", "layers", "imageMode"),
}
PANELS = {
    "3D": SCENE,
    "Image": SCENE,
    "DiagnosticSummary": {
        *("minLevel", "pinnedIds", "topicToRender", "hardwareIdFilter", "sortByLevel", "secondsUntilStale"),
    },
    "RawMessages": {
        *("diffEnabled", "diffMethod", "diffTopicPath", "expansion", "showFullMessageForDiff", "topicPath", "fontSize"),
    },
}
CHOICES = {
    "direction": ("row", "column"),
    "followMode": ("follow-pose", "follow-position", "follow-none"),
    "colorMode": ("flat", "gradient", "colormap", "rgb", "rgba", "rgba-fields"),
    "colorMap": ("turbo", "rainbow"),
    "diffMethod": ("custom", "previous message"),
}


def shown_topics(layout: Mapping[str, Any]) -> dict[str, type | None]:
    """Return the type that each topic of a layout must have; None for any type."""
    topics: dict[str, type | None] = {}
    for panel, config in layout["configById"].items():
        for topic in config.get("topics", {}):
            topics[topic] = CameraInfo if topic.endswith("camera_info") else PointCloud2
        if panel.startswith("Image!"):
            topics[config["imageMode"]["imageTopic"]] = Image
            topics[config["imageMode"]["calibrationTopic"]] = CameraInfo
        elif panel.startswith("DiagnosticSummary!"):
            topics[config["topicToRender"]] = DiagnosticArray
        elif panel.startswith("RawMessages!"):
            topics[config["topicPath"]] = None
    return topics


def layout_problems(layout: Mapping[str, Any]) -> list[str]:
    """Return what Foxglove does not know, and panels that are not in the tree, or are twice in it."""
    tree = list(_leaves(layout["layout"]))
    problems = [] if sorted(tree) == sorted(layout["configById"]) else [f"the tree has {sorted(tree)}"]
    problems += _unknown("layout", layout, LAYOUT)
    problems += [f"{key}: {value!r}" for key, value in _values(layout) if key in CHOICES and value not in CHOICES[key]]
    problems += [problem for split in _splits(layout["layout"]) for problem in _unknown("split", split, SPLIT)]
    for panel, config in layout["configById"].items():
        kind = panel.partition("!")[0]
        problems += _unknown(panel, config, PANELS.get(kind, set()))
        problems += _unknown(f"{panel} cameraState", config.get("cameraState", {}), CAMERA_STATE)
        problems += _unknown(f"{panel} imageMode", config.get("imageMode", {}), IMAGE_MODE)
        for topic, settings in config.get("topics", {}).items():
            problems += _unknown(topic, settings, CAMERA_INFO if topic.endswith("camera_info") else CLOUD)
    return problems


def _unknown(place: str, mapping: Mapping[str, Any], known: set[str]) -> list[str]:
    return [f"{place}: {key}" for key in mapping if key not in known]


def _splits(node: Any) -> Iterator[Mapping[str, Any]]:
    if not isinstance(node, str):
        yield node
        yield from _splits(node["first"])
        yield from _splits(node["second"])


def _leaves(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    else:
        yield from _leaves(node["first"])
        yield from _leaves(node["second"])


def _values(mapping: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in mapping.items():
        yield key, value
        if isinstance(value, dict):
            yield from _values(value)
