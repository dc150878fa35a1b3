"""Whether a topic counts as raw or rectified: by its name, with a warning if that may be wrong."""

from __future__ import annotations

import pytest

from depth_anything_ros.geometry.rectified_choice import called_rectified, choose_rectified


@pytest.mark.parametrize(
    ("topic", "rectified"),
    [
        ("/camera/image_raw", False),
        ("/camera/camera/color/image_raw", False),
        ("/front/image_rect", True),
        ("/front/image_rect_color", True),
        ("/camera/infra1/image_rect_raw", True),  # a RealSense: rectified, and not processed otherwise
        ("/zed/zed_node/rgb/color/rect/image", True),
        ("/zed/zed_node/rgb/color/raw/image", False),
        ("/rgb_raw/image_raw_color", False),
        ("/camera/image_color", False),
        ("/camera/image_mono", False),
        ("/camera/undistorted/image", True),
        ("/cam0/imageRectified", True),
        ("/camera/image_undistort", True),
        ("/camera/image_non_rect", False),
        ("/camera/not_rectified/image", False),
        ("/rect/image_raw", None),
        ("/camera/image", None),
        ("/drawer/image", None),
        ("/direct/correction", None),
        ("/image", None),
    ],
)
def test_topic_name_decides_rectified(topic, rectified):
    assert called_rectified(topic) is rectified


@pytest.mark.parametrize(
    ("setting", "topic", "distorts", "rectified", "warns"),
    [
        (None, "/image_raw", True, False, False),
        (None, "/image_raw", False, False, False),
        (None, "/image_rect", True, True, False),
        (None, "/image", False, True, False),
        (None, "/image", True, True, True),
        (None, None, True, False, False),
        (True, "/image_raw", True, True, True),
        (True, "/image_raw", False, True, False),
        (True, "/image", True, True, False),
        (False, "/image_rect", True, False, True),
        (False, "/image", True, False, False),
    ],
)
def test_rectified_choice_warns_if_uncertain(setting, topic, distorts, rectified, warns):
    choice = choose_rectified(setting, topic, distorts)
    assert (choice.rectified, choice.is_warning) == (rectified, warns)
    if setting is None and warns:
        assert "Set rectified to false if raw, otherwise to true" in choice.text
