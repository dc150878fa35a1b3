"""Predict which backend and precision "auto" takes for a model here, without a measurement, a build or a download."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from depth_anything_ros.runtime import backends
from depth_anything_ros.runtime.backends import builds_for_minutes
from depth_anything_ros.runtime.backends.interface import BackendChoice, LoadRequest
from depth_anything_ros.runtime.cuda.gpu_advice import runs_on_gpu
from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.runtime.graph import read_graph
from depth_anything_ros.runtime.input_sizes import free_size, nearest_size
from depth_anything_ros.runtime.measured_choice import KeptAnswers, question_about
from depth_anything_ros.runtime.model_files import find_model_files, graphs_by_size, record_within
from depth_anything_ros.runtime.precision_choice import choices, is_measured, rivals


@dataclass(frozen=True)
class AutoChoice:
    """What "auto" takes, and why.

    Attributes:
        choice: None if a measurement will decide, or nothing runs here.
        size: (height, width) of the network's input.
        seconds: per frame by the choice's name, fastest first, as an earlier start has measured them; else empty.
        to_measure: names of the choices that the first start measures.
        passed_over: the reason by the name of each choice that cannot run here.
    """

    choice: BackendChoice | None
    size: tuple[int, int]
    seconds: dict[str, float] = field(default_factory=dict)
    to_measure: tuple[str, ...] = ()
    passed_over: dict[str, str] = field(default_factory=dict)


def predict_choice(model: str = "tiny") -> AutoChoice:
    """Return what `Estimator(model)` takes here for its usual size. The gate can still refuse it at the first load.

    Args:
        model: see `Estimator`; its files must be here.

    Raises:
        ModelError: the model is unknown, damaged or not on this machine.
    """
    request = _usual_request(model)
    remaining = choices()
    passed_over: dict[str, str] = {}
    while remaining and not is_measured(remaining[0]) and (reason := why_not(remaining[0], request)):
        passed_over[str(remaining.pop(0))] = reason
    if not remaining or not is_measured(remaining[0]):
        return AutoChoice(remaining[0] if remaining else None, request.size, passed_over=passed_over)
    compared = rivals(remaining, True)
    reasons = {choice: why_not(choice, request) for choice in compared or remaining[:1]}
    passed_over.update({str(choice): reason for choice, reason in reasons.items() if reason})
    able = [choice for choice, reason in reasons.items() if not reason]
    # The estimator asks about all of them, including those whose device is missing.
    seconds = KeptAnswers().read(question_about(_with(request, compared[0]), compared, True)) if compared else None
    if seconds:
        fastest = next((choice for name in seconds for choice in able if str(choice) == name), None)
        return AutoChoice(fastest, request.size, seconds, passed_over=passed_over)
    if len(able) < 2:
        return AutoChoice(able[0] if able else None, request.size, passed_over=passed_over)
    return AutoChoice(None, request.size, to_measure=tuple(map(str, able)), passed_over=passed_over)


def why_not(choice: BackendChoice, request: LoadRequest) -> str:
    """Return why a choice of "auto" cannot run here; "" if nothing is known against it.

    A provider for GPUs is started with the model's own graph in float32, unless that compiles for minutes.

    Args:
        choice: backend and precision.
        request: gives the graph and the size.
    """
    try:
        backends.check(_with(request, choice))
        if runs_on_gpu(choice.backend) and not builds_for_minutes(choice):
            backends.load(_with(request, choice._replace(precision="fp32")))
    except ModelError as error:
        return str(error)
    return ""


def _with(request: LoadRequest, choice: BackendChoice) -> LoadRequest:
    return replace(request, choice=choice)


def _usual_request(model: str) -> LoadRequest:
    """Return the request for the reference at the model's usual size. Raises `ModelError`."""
    files = find_model_files(model)
    graphs = {key: read_graph(path) for key, path in files.graphs.items()}
    record = files.record or record_within(next(iter(graphs.values())))
    by_size = graphs_by_size(graphs, None)
    height, width = record.input_size
    size = free_size(record, height, width) if None in by_size else nearest_size(filter(None, by_size), height, width)
    return LoadRequest(backends.REFERENCE, by_size.get(size) or by_size[None], record, size)
