"""Counts of a camera's frames."""

from __future__ import annotations

from depth_anything_ros.ros.depth_node.frame_statistics import FrameStatistics


def test_summary_counts_every_frame():
    statistics = FrameStatistics()
    for _ in range(4):
        statistics.receive()
    statistics.ignore()
    statistics.drop("newer came")
    statistics.publish(0.010, 0.020, 0.030)
    statistics.publish(0.030, 0.040, None)
    assert statistics.summary() == (
        "4 images in, 2 published, 1 without subscribers, 1 dropped (newer came), "
        "model 20.0 ms, received to published 30.0 ms"
    )
    assert statistics.snapshot().ages == [0.030]
