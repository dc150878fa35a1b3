"""The counts of a camera's frames."""

from __future__ import annotations

from depth_anything_ros.nodes.frame_statistics import MOST_CAUSES, OTHER_CAUSES, FrameStatistics


def test_causes_that_messages_name_at_will_take_no_more_and_more_memory():
    statistics = FrameStatistics()
    for number in range(1000):
        statistics.drop(f"encoding {number}")
        statistics.drop("step")
    assert len(statistics.dropped) == MOST_CAUSES + 1
    assert statistics.dropped["step"] == 1000
    assert statistics.dropped[OTHER_CAUSES] == 1001 - MOST_CAUSES
    assert statistics.dropped.total() == 2000


def test_a_summary_says_what_became_of_every_frame():
    statistics = FrameStatistics()
    for _ in range(4):
        statistics.receive()
    statistics.ignore()
    statistics.drop("newer came")
    statistics.publish(0.010, 0.020, 0.030)
    statistics.publish(0.030, 0.040, None)
    assert statistics.summary() == (
        "4 images in, 2 published, 1 for nobody, 1 dropped (newer came), model 20.0 ms, received to published 30.0 ms"
    )
    assert statistics.snapshot().ages == [0.030]
