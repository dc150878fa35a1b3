"""Open a model's networks, and check each against the reference before its first use."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np

from depth_anything_ros.runtime import gate
from depth_anything_ros.runtime.backends import REFERENCE, reads_weights
from depth_anything_ros.runtime.backends.interface import BackendChoice, BuildOptions, LoadRequest
from depth_anything_ros.runtime.errors import ModelError, WrongOutputError
from depth_anything_ros.runtime.graph import Graph
from depth_anything_ros.runtime.network import Network
from depth_anything_ros.zoo.record import ModelRecord

Size = tuple[int, int]

log = logging.getLogger(__name__)

WEIGHTS_REFERENCE = BackendChoice("torch", "fp32")
"""The reference for a model that was never exported."""


class CheckedNetworks:
    """The networks of one model.

    Args:
        record: the model's record.
        graphs: by input size (height, width); the key None means a graph for any size.
        weights: the model's checkpoint, or None. A model that was never exported has it in ``graphs`` too.
        threads: CPU threads; None for the backend's choice.
        building: options for building engines.
        gated: whether networks must pass the gate.
    """

    def __init__(
        self,
        record: ModelRecord,
        graphs: Mapping[Size | None, Graph],
        weights: Graph | None,
        threads: int | None,
        building: BuildOptions,
        gated: bool,
    ) -> None:
        self._record, self._graphs, self._weights = record, graphs, weights
        self._threads, self._building, self._gated = threads, building, gated
        self._references = gate.References()

    def request(self, choice: BackendChoice, size: Size) -> LoadRequest:
        """Return the request to load the graph or weights for a size.

        Args:
            choice: backend and precision.
            size: (height, width) of the input.

        Raises:
            ModelError: the choice needs weights, but the model has only graphs.
        """
        return LoadRequest(choice, self._graph(choice, size), self._record, size, self._threads, self._building)

    def open(self, choice: BackendChoice, size: Size) -> Network:
        """Return a network that has passed the gate.

        Args:
            choice: backend and precision.
            size: (height, width) of the input.

        Raises:
            ModelError: the network cannot be loaded, or gives wrong depth.
        """
        request = self.request(choice, size)
        network = Network(request)
        if choice == self._reference_choice(size):
            return network
        if not self._gated:
            network.gate_result = "not checked"
            return network
        reference = self.reference(size)
        try:
            verdict = gate.judge(network, reference)
        except WrongOutputError as error:
            network.reject(str(error))
            raise
        if not verdict.passed:
            network.reject(str(verdict))
            raise ModelError(f"{request.graph.path} on {choice} gives wrong depth: {verdict}")
        if network.engine is not None:
            network.engine.pass_gate(str(verdict))
        network.gate_result = f"passed: {verdict}"
        log.info("%s on %s at %dx%d passes the gate: %s", self._record.name, choice, *size, verdict)
        return network

    def reference(self, size: Size) -> np.ndarray:
        """Return the reference's outputs for the gate's images, computed once and then cached. Raises `ModelError`."""
        request = self.request(self._reference_choice(size), size)
        reference = self._references.read(request.graph, self._record, size)
        if reference is None:
            log.info("computing the reference outputs of %s at %dx%d, once", request.graph.path, *size)
            reference = gate.outputs(Network(request))
            try:
                self._references.write(request.graph, self._record, size, reference)
            except OSError as error:
                log.warning("the reference outputs cannot be stored, so every start computes them: %s", error)
        return reference

    def _reference_choice(self, size: Size) -> BackendChoice:
        """Return ONNX Runtime in 32 bits, or PyTorch for a model that was never exported."""
        return WEIGHTS_REFERENCE if self._graphs.get(size, self._graphs.get(None)) is self._weights else REFERENCE

    def _graph(self, choice: BackendChoice, size: Size) -> Graph:
        """Return the graph or the weights that the choice loads for a size."""
        if not reads_weights(choice):
            return self._graphs[size if size in self._graphs else None]
        if self._weights is None:
            raise ModelError(f"{self._record.name} is a graph, but {choice.backend} needs weights: give the checkpoint")
        return self._weights
