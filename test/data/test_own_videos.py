"""The user's own videos: frames at their times, and damaged files."""

from __future__ import annotations

import numpy as np
import pytest
from damaged_files import forget_length, write_video, zero_frames
from image_comparison import assert_is
from miniature_files import JPEG, VIDEO, encoded, picture, put, put_video

from depth_anything_ros.data.frame import DataError, decode_image
from depth_anything_ros.data.video_set import VideoSet


@pytest.mark.parametrize("name", ["clip.mp4", "clip.MOV", "clip.mkv", "clip.avi"])
def test_video_frames_match_their_times(tmp_path, name):
    rate = 10.0
    frames = [picture(number) for number in range(35)]
    put_video(tmp_path / name, frames, rate)
    declared = VideoSet(seconds_apart=0.5)
    names = list(declared.names(tmp_path))
    assert names == [f"{name}#{milliseconds}" for milliseconds in range(0, 3500, 500)]
    for one in names:
        number = int(one.partition("#")[2]) // 100
        assert_is(declared.read_image(tmp_path, one), frames[number], VIDEO)


def test_video_frames_are_equal_in_any_read_order(tmp_path):
    """In order they are read on; behind, or far ahead, they are sought."""
    frames = [picture(number) for number in range(130)]
    put_video(tmp_path / "a.mp4", frames)
    put_video(tmp_path / "b.mp4", frames[::-1])
    declared = VideoSet(seconds_apart=0.7)
    names = list(declared.names(tmp_path))
    assert len(names) == 36
    forwards = {name: declared.read_image(tmp_path, name) for name in names}
    for name in names:
        number = int(name.partition("#")[2]) // 100
        assert_is(forwards[name], frames[number] if name.startswith("a") else frames[129 - number], VIDEO)
    leaps = [*names[::-1], names[0], names[17], names[3], names[18], names[35], names[35], names[16]]
    for name in leaps:
        np.testing.assert_array_equal(VideoSet().read_image(tmp_path, name), forwards[name])


def test_video_shorter_than_step_gives_first_frame(tmp_path):
    put_video(tmp_path / "short.mp4", [picture(number) for number in range(3)])
    assert list(VideoSet().names(tmp_path)) == ["short.mp4#0"]
    assert_is(VideoSet().read_image(tmp_path, "short.mp4#0"), picture(0), VIDEO)
    assert_is(VideoSet().read_image(tmp_path, "short.mp4#90000"), picture(2), VIDEO)  # the last one


def test_video_frame_is_packed_as_jpeg(tmp_path):
    put_video(tmp_path / "clip.mp4", [picture(number) for number in range(15)])
    ending, content = VideoSet().read_file(tmp_path, "clip.mp4#1000")
    assert ending == "jpg"
    assert_is(decode_image(content, "frame"), picture(10), VIDEO + JPEG)


@pytest.mark.parametrize("content", [b"", b"no video at all\n" * 100, encoded(".png", picture(0))[:60]])
def test_file_that_is_no_video_is_skipped_and_named(tmp_path, content, caplog):
    put_video(tmp_path / "clip.mp4", [picture(0)] * 10)
    put(tmp_path / "notes.mp4", content)
    put_video(tmp_path / "other.mp4", [picture(1)] * 10)
    assert list(VideoSet().names(tmp_path)) == ["clip.mp4#0", "notes.mp4#", "other.mp4#0"]
    (said,) = caplog.messages
    is_picture = content.startswith(b"\x89PNG")  # which OpenCV opens as a video, without frames
    why = "no frame can be decoded" if is_picture else "it is damaged, or of an unknown kind"
    assert said == f"left out: {tmp_path / 'notes.mp4'} cannot be read as a video: {why}"
    assert VideoSet().fault(tmp_path, "notes.mp4#") == said.removeprefix("left out: ")
    assert VideoSet().fault(tmp_path, "clip.mp4#0") is None
    for name in ("notes.mp4#", "notes.mp4#0"):
        with pytest.raises(DataError, match=r"notes\.mp4 (cannot be read as a video|has no frame at 0 ms)"):
            VideoSet().read_image(tmp_path, name)


def test_frames_next_to_damage_match_their_times(tmp_path):
    """A frame that is asked for and cannot be decoded is refused, the others do not move."""
    grays = range(20, 200, 6)
    zero_frames(write_video(tmp_path / "a.avi", grays), 3, 10, 11)
    declared = VideoSet(seconds_apart=0.5)
    names = list(declared.names(tmp_path))
    assert names == [f"a.avi#{milliseconds}" for milliseconds in range(0, 3000, 500)]
    for name in names:
        number = int(name.partition("#")[2]) // 100
        if number == 10:
            with pytest.raises(DataError, match=r"a\.avi has no frame at 1000 ms that can be decoded"):
                declared.read_image(tmp_path, name)
        else:
            assert declared.read_image(tmp_path, name).mean() == pytest.approx(grays[number], abs=5)


def test_damage_between_requested_frames_is_reported(tmp_path, caplog):
    zero_frames(write_video(tmp_path / "a.avi", range(20, 200, 6)), 13, 14)
    declared = VideoSet()
    assert len([declared.read_image(tmp_path, name) for name in declared.names(tmp_path)]) == 3
    assert caplog.messages == [f"{tmp_path / 'a.avi'}: 2 of 30 frames cannot be decoded: 13 to 14, so far"]


def test_video_of_killed_recorder_gives_all_frames(tmp_path):
    forget_length(write_video(tmp_path / "a.mkv", range(20, 200, 6)))
    declared = VideoSet(seconds_apart=0.5)
    names = list(declared.names(tmp_path))
    assert names == [f"a.mkv#{milliseconds}" for milliseconds in range(0, 3000, 500)]
    for name in (*names, *names[::-1]):  # backwards too, where there is no index to seek by
        number = int(name.partition("#")[2]) // 100
        assert declared.read_image(tmp_path, name).mean() == pytest.approx(20 + 6 * number, abs=5)


def test_impossible_frame_rate_loses_no_frames(tmp_path, caplog):
    write_video(tmp_path / "a.avi", [100] * 90, rate=1000.0)
    assert list(VideoSet().names(tmp_path)) == [f"a.avi#{milliseconds}" for milliseconds in (0, 1000, 2000)]
    assert caplog.messages == [f"{tmp_path / 'a.avi'}: it claims 1000 frames a second; using 30"]


@pytest.mark.parametrize(("frames", "apart", "requested"), [(3, 0.1, 3), (6, 0.1, 6), (7, 0.1, 7), (29, 0.1, 29)])
def test_frame_times_are_robust_to_rounding(tmp_path, frames, apart, requested):
    """0.3 / 0.1 is less than 3 in floating point."""
    put_video(tmp_path / "clip.avi", [picture(number) for number in range(frames)], rate=10.0)
    assert len(list(VideoSet(seconds_apart=apart).names(tmp_path))) == requested


def test_truncated_video_is_named_at_missing_frame(tmp_path):
    """An .avi keeps its index at the end and its number of frames at the start."""
    noise = np.random.default_rng(0)
    put_video(tmp_path / "cut.avi", [noise.integers(0, 255, (96, 128, 3), np.uint8) for _ in range(40)])
    content = (tmp_path / "cut.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(content[: len(content) // 2])
    declared = VideoSet()
    names = list(declared.names(tmp_path))
    assert names == [f"cut.avi#{1000 * second}" for second in range(4)]
    assert declared.read_image(tmp_path, names[0]).shape == (96, 128, 3)
    with pytest.raises(DataError, match=r"cut\.avi has no frame at 3000 ms that can be decoded: it is damaged or"):
        declared.read_image(tmp_path, names[-1])
