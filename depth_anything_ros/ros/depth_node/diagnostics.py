"""Diagnostics on /diagnostics, published by a separate thread, so that they continue while a model loads."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from depth_anything_ros.processing.frame_settings import FrameSettings
from depth_anything_ros.processing.scale_choice import ScaleChoice
from depth_anything_ros.ros.depth_node.camera_stream import CameraStream
from depth_anything_ros.ros.depth_node.frame_statistics import REPLACED, Snapshot
from depth_anything_ros.ros.depth_node.stream_geometry import UNCORRECTED
from depth_anything_ros.ros.depth_node.stream_watch import silence_text
from depth_anything_ros.ros.io.image_input import NO_STAMP
from depth_anything_ros.ros.io.topic_events import no_publisher_events
from depth_anything_ros.runtime.estimator import Estimator
from depth_anything_ros.system.memory import resident_mebibytes

PERIOD = 1.0
"""Seconds between two messages."""
WINDOW = 100
"""Number of latest frames whose age is reported."""
SILENCE = 5.0
"""Seconds without an image, while subscribed, before a warning."""
_NO_DEPTH = "no depth, because there is no scale"
_CONSEQUENCES = {
    "none": _NO_DEPTH,
    "lost": _NO_DEPTH,
    "metric": "depth is in the model's own meters, because no sensor corrects them",
}
"""What follows for depth if sensors give no scale, by the state of the scale."""
OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR

log = logging.getLogger(__name__)


class DiagnosticsPublisher:
    """Publishes the statuses that ``collect`` returns, every `PERIOD`, until `close`."""

    def __init__(self, node: Node, collect: Callable[[], list[DiagnosticStatus]]) -> None:
        self._node, self._collect = node, collect
        self._publisher = node.create_publisher(
            DiagnosticArray, "/diagnostics", 10, event_callbacks=no_publisher_events()
        )
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="diagnostics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop publishing, after the message in progress."""
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closed.wait(PERIOD):
            try:
                message = DiagnosticArray(status=self._collect())
                message.header.stamp = self._node.get_clock().now().to_msg()
                self._publisher.publish(message)
            except Exception:  # the node is being destroyed or shut down
                if not self._closed.is_set() and self._node.context.ok():
                    log.exception("diagnostics failed")
                    continue
                return


class StreamReport:
    """Turns the counts of one camera into a status. Rates cover the time since the previous status."""

    def __init__(self, stream: CameraStream) -> None:
        self._stream = stream
        self._before, self._since = stream.statistics.snapshot(), time.monotonic()

    def status(self, node_name: str, rest: str) -> DiagnosticStatus:
        """Return the status: WARN, with numbers, if frames are lost or something is missing.

        Args:
            node_name: prefix of the status's name.
            rest: why the node receives no images; "" if it does.
        """
        stream, now = self._stream, time.monotonic()
        before, counts, seconds = self._before, stream.statistics.snapshot(), now - self._since
        self._before, self._since = counts, now
        rates = {
            "input rate (Hz)": (counts.received - before.received) / seconds,
            "output rate (Hz)": (counts.published - before.published) / seconds,
        }
        values = {name: f"{rate:.1f}" for name, rate in rates.items()}
        if counts.published > before.published:  # otherwise they are old
            values |= _ages(counts.ages)
        for cause, count in sorted(counts.dropped.items()):
            values[f"dropped: {cause}"] = str(count)
        if counts.skipped:
            values["skipped by max_rate"] = str(counts.skipped)
        values["published"] = str(counts.published)
        values["images from"] = stream.input.source
        scale, problem = stream.scale, stream.geometry.problem  # other threads may change them meanwhile
        corrects = scale is not None and scale.reference_focal is not None
        measured = stream.processor.steps.measured
        if scale is not None:
            state = scale.state if measured is None else measured.state(stream.parameters.scale_hold)
            values["scale"] = "uncorrected" if corrects and problem is not None else state
            values |= _fixed_scale(scale, stream.processor.settings)
        if measured is not None:
            values["scale problem"] = stream.processor.steps.scale_problem or "none"
        if corrects and stream.processor.steps.focal_gain is not None:
            values["meters multiplied for the lens by"] = f"{stream.processor.steps.focal_gain:.4g}"
        if problem is not None:
            values["no cloud because"] = problem
        if (choice := stream.geometry.rectified_choice) is not None:
            values["rectified"] = choice.text
        level, text = self._verdict(before, counts, rates, rest, problem, corrects)
        name = f"{node_name}: {stream.name or 'camera'}"
        return _status(name, level, text, values)

    def _verdict(
        self,
        before: Snapshot,
        counts: Snapshot,
        rates: Mapping[str, float],
        rest: str,
        problem: str | None,
        corrects: bool,
    ) -> tuple[bytes, str]:
        received, published = counts.received - before.received, counts.published - before.published
        new = {cause: count - before.dropped.get(cause, 0) for cause, count in counts.dropped.items()}
        replaced = new.pop(REPLACED, 0)
        bad = {cause: count for cause, count in new.items() if count > 0}
        problems = [_dropped(bad, counts.details)] if bad else self._problems(received, published, problem, corrects)
        if self._stream.lacks_scale and not rest:
            problems.append(_unknown_scale(self._stream.scale))
        level, text = (OK, rest or "running") if rest or received else self._silence()
        if level != OK:
            problems.insert(0, text)
        share, limit = replaced / received if received else 0.0, self._stream.parameters.overload_share
        if share > limit:  # last, because another problem may be why no image goes out
            problems.append(
                f"overload: {rates['input rate (Hz)']:.1f} Hz in, {rates['output rate (Hz)']:.1f} Hz out, "
                f"{100 * share:.0f} % of the images replaced by newer ones (more than {100 * limit:.0f} %); take a "
                "smaller input, a faster backend or precision, or set max_rate"
            )
        if problems:
            return WARN, "; ".join(problems)
        return level, text

    def _problems(self, received: int, published: int, problem: str | None, corrects: bool) -> list[str]:
        """Return what is wrong, if images arrived since the previous status and none was dropped."""
        problems: list[str] = []
        if problem is not None and published:
            problems.append(f"no cloud: {problem}" + (f"; {UNCORRECTED}" if corrects else ""))
        measured = self._stream.processor.steps.measured
        state = "" if measured is None else measured.state(self._stream.parameters.scale_hold)
        if received and (consequence := _CONSEQUENCES.get(state)):
            problems.append(f"{consequence}: {self._stream.processor.steps.scale_problem or 'no reason'}")
        if received and self._stream.input.has_zero_stamps:
            problems.append(f"the images {NO_STAMP}")
        if received:
            problems += self._stream.geometry.doubts
        return problems

    def _silence(self) -> tuple[bytes, str]:
        """Return level and text if no image has arrived since the previous status."""
        images = self._stream.input
        seconds = images.silence
        if seconds is None:
            absence = f", and nobody publishes {images.image_topic}" if images.is_unpublished else ""
            return OK, f"idle: no subscribers{absence}"
        if seconds < SILENCE:
            return OK, "idle: waiting for images"
        return WARN, silence_text(images, seconds)


def _dropped(causes: Mapping[str, int], details: Mapping[str, str]) -> str:
    """Return the numbers of dropped images by cause, with the fix for the most frequent one."""
    detail = details[max(causes, key=causes.__getitem__)]
    text = "dropped: " + ", ".join(f"{count} {cause}" for cause, count in sorted(causes.items()))
    return f"{text} ({detail})" if detail else text


def _unknown_scale(choice: ScaleChoice | None) -> str:
    """Return that depth needs a scale, with the fix."""
    launched, otherwise = "", ""
    if choice is not None and choice.has_nominal:
        launched, otherwise = ", or with scale:=nominal to try it out", " or scale.nominal"
    return (
        "no depth, because the model is relative and the scale is unknown: start with scale:=SENSOR (docs/metric.md)"
        f"{launched}; without a launch file set scale.source{otherwise}"
    )


def _fixed_scale(choice: ScaleChoice, settings: FrameSettings | None) -> dict[str, str]:
    """Return the scale that all frames share, with enough digits to change it; empty if sensors measure it."""
    if choice.scale is None or settings is None:
        return {}
    a, b = choice.scale.a, choice.scale.b
    return {"scale model": settings.depth.scale_model, "scale a": f"{a:.9g}", "scale b": f"{b:.9g}"}


def model_status(
    node_name: str,
    state: str,
    progress: str,
    estimator: Estimator | None,
    failure: str,
    batches: str = "",
    warnings: Sequence[str] = (),
) -> DiagnosticStatus:
    """Return the status of the model: what runs it, whether it passed the gate, and the memory of the process.

    Args:
        node_name: prefix of the status's name.
        state: lifecycle state.
        progress: what the loader is doing; "" if nothing.
        estimator: the model in use, if any.
        failure: why there is no model; "" if there was no error.
        batches: how frames of several cameras are batched; "" for one camera.
        warnings: problems of the node's environment.
    """
    values = {"state": state, "memory (MiB)": f"{resident_mebibytes():.0f}"}
    if estimator is not None:
        values |= {
            "model": estimator.record.name,
            "output": estimator.record.output,
            "backend": estimator.backend_name,
            "precision": estimator.precision,
            "provenance": estimator.provenance,
        }
        engines = estimator.engines()
        values["engine"] = ", ".join(str(engine.folder) for engine in engines) or "none built"
        values["gate"] = estimator.gate_result
        if batches:
            values["batches"] = batches
    if progress:
        return _status(f"{node_name}: model", OK, progress, values)
    if failure:
        return _status(f"{node_name}: model", ERROR, failure, values)
    if warnings:
        return _status(f"{node_name}: model", WARN, "; ".join(warnings), values)
    text = f"{state}: {estimator.summary}" if estimator is not None else state
    return _status(f"{node_name}: model", OK, text, values)


def _ages(ages: Sequence[float]) -> dict[str, str]:
    """Return percentiles of the ages at publication, by the node's clock."""
    if not ages:
        return {}
    p50, p95 = 1e3 * np.percentile(ages[-WINDOW:], (50, 95))
    return {"age p50 (ms)": f"{p50:.1f}", "age p95 (ms)": f"{p95:.1f}"}


def _status(name: str, level: bytes, text: str, values: Mapping[str, str]) -> DiagnosticStatus:
    pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
    return DiagnosticStatus(name=name, level=level, message=text, hardware_id="", values=pairs)
