"""Build TensorRT engines from ONNX graphs, with one code path for TensorRT 8.6 to 11.

Functions for some versions only name these versions, since TensorRT's names change between them.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import onnx
import tensorrt as trt

from depth_anything_ros.runtime.backends.tensorrt_messages import MESSAGES
from depth_anything_ros.runtime.cuda import driver as cuda_driver
from depth_anything_ros.runtime.cuda import packages as cuda_packages
from depth_anything_ros.runtime.engines.build_progress import BuildProgress, in_thread
from depth_anything_ros.runtime.engines.half_precision import GRAPH_PRECISIONS, float32_nodes, typed_graph
from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.system.atomic_file import atomic_write

log = logging.getLogger(__name__)

FLOAT32_LAYERS = (trt.LayerType.NORMALIZATION, trt.LayerType.SOFTMAX)


def version() -> str:
    """Return TensorRT's version, such as "10.3.0"."""
    return trt.__version__


def build_plan(
    graph: Path,
    precision: str,
    shape: tuple[int, ...],
    *,
    timing_cache: Path | None = None,
    workspace: int | None = None,
    report: Callable[[str, float], None] | None = None,
) -> bytes:
    """Build an engine for one input shape, which takes seconds to minutes.

    The builder runs in a separate thread. KeyboardInterrupt, or an exception from ``report``, stops it and is raised
    after it has stopped. TensorRT before 10 can neither be stopped nor report progress, so the exception waits for its
    end. A second interrupt does not wait.

    Args:
        graph: an .onnx file with one input; external data must be in its folder.
        precision: "fp32" (without TF32), "fp16" or "mixed", see `typed_graph`.
        shape: of the input, such as (1, 308, 406, 3); it fixes the graph's free sides.
        timing_cache: a file with TensorRT's measurements, which makes the next build shorter. It is read if it exists,
            and written afterwards.
        workspace: most bytes of GPU memory for layers; default: all.
        report: receives the current phase and the finished fraction 0..1, from the builder's thread.

    Returns:
        The serialized engine, for this version of TensorRT and this GPU.

    Raises:
        ValueError: the precision is unknown.
        ModelError: the graph cannot be read or does not take this shape, TensorRT rejects it, or there is no GPU.
    """
    if precision not in GRAPH_PRECISIONS:
        raise ValueError(f"precision is {precision!r}, must be one of {', '.join(GRAPH_PRECISIONS)}")
    progress = BuildProgress(report)
    build = _Build(graph, precision, shape, progress)
    return in_thread(lambda: build.run(timing_cache, workspace), progress)


class _Build:
    """One engine during its build."""

    def __init__(self, graph: Path, precision: str, shape: tuple[int, ...], progress: BuildProgress) -> None:
        self._graph, self._precision, self._shape, self._progress = graph, precision, shape, progress

    def run(self, timing_cache: Path | None, workspace: int | None) -> bytes:
        """Build the engine, see `build_plan`."""
        MESSAGES.errors.clear()
        self._progress.start("reading", None, 1)
        model = typed_graph(self._graph, self._precision if _is_strongly_typed() else "fp32")
        self._progress.finish("reading")
        builder = self._builder()
        network = builder.create_network(_typed_flags() if _is_strongly_typed() else _batch_flags())
        parser = trt.OnnxParser(network, MESSAGES)
        self._parse(parser, model)
        config = builder.create_builder_config()
        config.clear_flag(trt.BuilderFlag.TF32)  # it has only the ten bits of mantissa of half precision
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # lets a plan report the types of its layers
        if workspace is not None:
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace)
        if _is_strongly_typed():
            _monitor(config, self._progress)
        else:
            _set_precision(config, network, self._precision, model)
        self._fix_shape(builder, config, network)
        if timing_cache is not None:
            _load_timing(config, timing_cache)
        plan = builder.build_serialized_network(network, config)
        if plan is not None:
            self._progress.complete("engine")
        if self._progress.error is not None:
            raise self._progress.error
        if plan is None:
            raise ModelError(f"{self._graph}: TensorRT {version()} built no engine: {MESSAGES.take_errors()}")
        if timing_cache is not None:
            _save_timing(config, timing_cache)
        return bytes(plan)

    def _builder(self) -> trt.Builder:
        try:
            builder = trt.Builder(MESSAGES)
        except TypeError as error:  # from the binding, if it gets no builder
            newer = f", or its CUDA is newer than the driver's, for which there is {cuda_packages.tensorrt()}"
            raise ModelError(
                f"TensorRT {version()} cannot start: there is no NVIDIA driver or no GPU that it supports"
                f"{newer if cuda_driver.driver_version()[0] else ''} ({MESSAGES.take_errors()})"
            ) from error
        return builder

    def _parse(self, parser: trt.OnnxParser, model: onnx.ModelProto) -> None:
        """Parse the graph through a file with external weights, since a message cannot exceed 2 GiB."""
        with tempfile.TemporaryDirectory(prefix="tensorrt_build_") as folder:
            path = Path(folder) / "graph.onnx"
            onnx.save(model, path, save_as_external_data=True, location="weights")
            parsed = parser.parse_from_file(str(path))
        if not parsed:
            errors = [_described(parser.get_error(index), model) for index in range(parser.num_errors)]
            raise ModelError(f"{self._graph}: TensorRT {version()} cannot read it: " + "; ".join(errors))

    def _fix_shape(self, builder: trt.Builder, config: trt.IBuilderConfig, network: trt.INetworkDefinition) -> None:
        if network.num_inputs != 1:
            raise ModelError(f"{self._graph}: has {network.num_inputs} inputs, must have one")
        tensor = network.get_input(0)
        sides = tuple(tensor.shape)
        if len(sides) != len(self._shape) or any(
            side not in (-1, requested) for side, requested in zip(sides, self._shape, strict=True)
        ):
            raise ModelError(f"{self._graph}: its input is {sides} (-1: free), which does not allow {self._shape}")
        if -1 in sides:
            profile = builder.create_optimization_profile()
            profile.set_shape(tensor.name, self._shape, self._shape, self._shape)
            config.add_optimization_profile(profile)


def _is_strongly_typed() -> bool:
    """Return whether this TensorRT takes the types of tensors from the graph: version 10 and later."""
    return int(version().split(".")[0]) >= 10


def _typed_flags() -> int:
    """Return the network flags for TensorRT 10 and later; from 11 on they change nothing."""
    return 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


def _batch_flags() -> int:
    """Return the network flags for TensorRT 8."""
    return 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)


def _set_precision(
    config: trt.IBuilderConfig, network: trt.INetworkDefinition, precision: str, model: onnx.ModelProto
) -> None:
    """Set the precision for TensorRT 8, whose builder chooses types itself from the allowed ones."""
    if precision == "fp32":
        return
    config.set_flag(trt.BuilderFlag.FP16)
    if precision == "mixed":
        config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
        for layer in float32_layers(network, model):
            layer.precision = trt.DataType.FLOAT
            for index in range(layer.num_outputs):
                layer.set_output_type(index, trt.DataType.FLOAT)


def float32_layers(network: trt.INetworkDefinition, model: onnx.ModelProto) -> list[trt.ILayer]:
    """Return the layers that "mixed" computes in float32, see `float32_nodes`.

    The parser gives layers the name of their node, with a suffix if a node becomes several layers.

    Args:
        network: parsed from ``model``.
        model: the graph.
    """
    kept = float32_nodes(model)
    names = sorted((node.name for node in model.graph.node), key=len, reverse=True)
    layers = []
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        node = next((name for name in names if layer.name.startswith(name)), None)
        if (layer.type in FLOAT32_LAYERS or node in kept) and _gives_floats(layer):
            layers.append(layer)
    return layers


def _gives_floats(layer: trt.ILayer) -> bool:
    tensors: Iterable[trt.ITensor] = (layer.get_output(index) for index in range(layer.num_outputs))
    return all(tensor.dtype == trt.DataType.FLOAT for tensor in tensors)


def _monitor(config: trt.IBuilderConfig, progress: BuildProgress) -> None:
    """Connect the progress to TensorRT 10 and later."""

    class Monitor(trt.IProgressMonitor):
        """A forwarder of the builder's reports. Its names are TensorRT's."""

        def __init__(self) -> None:
            super().__init__()

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            progress.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            return progress.step(phase_name, step)

        def phase_finish(self, phase_name: str) -> None:
            progress.finish(phase_name)

    config.progress_monitor = Monitor()


def _described(parser_error: trt.ParserError, model: onnx.ModelProto) -> str:
    """Return a parser error with the name of its node, which 8.6 does not include."""
    nodes, index = model.graph.node, parser_error.node()
    where = f"{nodes[index].name} ({nodes[index].op_type})" if 0 <= index < len(nodes) else "the graph"
    return f"{where}: {parser_error.desc()}"


def _load_timing(config: trt.IBuilderConfig, path: Path) -> None:
    """Give the builder the measurements in a file, or none if they are unusable."""
    stored = path.read_bytes() if path.is_file() else b""
    errors = list(MESSAGES.errors)
    timing = config.create_timing_cache(b"")
    empty = bytes(timing.serialize())
    if stored not in (b"", empty):
        timing = config.create_timing_cache(stored)
    # TensorRT makes an empty cache, or none, from data that it cannot read.
    is_unusable = timing is None or (stored not in (b"", empty) and bytes(timing.serialize()) == empty)
    if is_unusable or not config.set_timing_cache(timing, False):
        log.warning("%s: damaged, or of another TensorRT or GPU; the build measures again", path)
        timing = config.create_timing_cache(b"")
        config.set_timing_cache(timing, False)
    MESSAGES.errors[:] = errors  # errors about the timing cache do not fail the build


def _save_timing(config: trt.IBuilderConfig, path: Path) -> None:
    timing = config.get_timing_cache()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, bytes(timing.serialize()))
    except OSError as error:
        log.warning("%s: the measurements cannot be stored, so the next build takes as long: %s", path, error)
