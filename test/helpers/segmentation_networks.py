"""Small segmentation networks and their samples."""

from __future__ import annotations

import dataclasses

import torch

from depth_anything_ros.model.segmentation import (
    SegmentationNetwork,
    SegmentationRecord,
)

SIZE = (56, 70)


# ---- the network and its file


def small_network(classes: int = 4) -> SegmentationNetwork:
    torch.manual_seed(0)
    return SegmentationNetwork("tiny", "v2", classes).eval()


def record_of(network: SegmentationNetwork, **changes) -> SegmentationRecord:
    record = SegmentationRecord("shapes", "Apache-2.0", network.encoder, network.version, network.classes, SIZE)
    return dataclasses.replace(record, **changes)
