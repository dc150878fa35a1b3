"""A frame allocates nothing large: a node takes its memory at start."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

pytest.importorskip("onnx", reason="builds the graphs that are run")

from small_graphs import red_graph, relative_record, save_graph

from depth_anything_ros.runtime.backends import is_installed
from depth_anything_ros.runtime.estimator import Estimator

SIZE = (518, 686)
"""Its map is of 1.4 MB, its pixels of 1.1 MB."""
MOST = 1_000_000


pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("view", [slice(None), slice(None, None, -1)], ids=["rgb", "bgr seen as rgb"])
@pytest.mark.parametrize("camera", [(480, 640), (1080, 1920), SIZE])
def test_estimate_allocates_nothing_large_per_frame(tmp_path, backend, view, camera):
    if not is_installed(backend):
        pytest.skip(f"{backend} is not installed")
    path = save_graph(red_graph(SIZE, relative_record(input_size=SIZE)), tmp_path / "red.onnx")
    estimator = Estimator(path, backend, precision="fp32")
    image = np.random.default_rng(0).integers(0, 256, (*camera, 3), dtype=np.uint8)[..., view]
    out = np.empty(camera, np.float32)
    for _ in range(3):
        estimator.estimate(image, out=out)
    tracemalloc.start()
    try:
        for _ in range(3):
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            estimator.estimate(image, out=out)
            assert tracemalloc.get_traced_memory()[1] - before < MOST
    finally:
        tracemalloc.stop()
