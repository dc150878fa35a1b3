"""Video files: the end is distinguished from damage, every decodable frame is read, the others are counted."""

from __future__ import annotations

import os

import cv2
import pytest
from damaged_files import encoded, forget_length, write_video, zero_frames
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from depth_anything_ros.images.compressed_files import DamagedFileError
from depth_anything_ros.images.file_kinds import FileKind, kind_of_path
from depth_anything_ros.images.video_containers import Container, container_of
from depth_anything_ros.images.video_files import VideoFile

GRAYS = range(20, 200, 6)
"""Of thirty frames."""


def read(video: VideoFile) -> dict[int, int]:
    """Return the gray value of each frame by its number."""
    found = {}
    while (image := video.read()) is not None:
        found[video.number] = round(float(image.mean()))
    return found


def expected(*lost: int) -> dict[int, pytest.approx]:
    return {number: pytest.approx(gray, abs=5) for number, gray in enumerate(GRAYS) if number not in lost}


@pytest.mark.parametrize("name", ["a.avi", "a.mkv", "a.mov"])
def test_intact_video_is_read_completely(tmp_path, name):
    video = VideoFile(write_video(tmp_path / name, GRAYS))
    assert read(video) == expected()
    assert (video.dropped(), video.problem, video.rate, video.rate_doubt) == (0, None, 10.0, "")


@pytest.mark.parametrize("lost", [(7,), (0,), (28,), (29,), (4, 5, 6, 20)])
def test_undecodable_frames_are_skipped_and_counted(tmp_path, lost):
    path = write_video(tmp_path / "a.avi", GRAYS)
    zero_frames(path, *lost)
    video = VideoFile(path)
    assert read(video) == expected(*lost)
    assert video.dropped() == len(lost)
    assert video.dropped(every=2) == len([number for number in lost if number % 2 == 0])
    said = {1: f"1 of 30 frames cannot be decoded: {lost[0]}", 4: "4 of 30 frames cannot be decoded: 4 to 6, 20"}
    assert video.problem == said[len(lost)]


def test_opencv_mjpeg_reader_skips_damaged_frame(tmp_path, monkeypatch):
    """It is what builds without FFmpeg have, and goes to a frame that it then cannot decode."""
    if not hasattr(cv2, "CAP_OPENCV_MJPEG"):
        pytest.skip("this OpenCV has none")
    path = write_video(tmp_path / "a.avi", GRAYS)
    zero_frames(path, 7)
    open_capture = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", lambda name: open_capture(name, cv2.CAP_OPENCV_MJPEG))
    video = VideoFile(path)
    assert read(video) == expected(7)
    assert video.problem == "1 of 30 frames cannot be decoded: 7"


def test_long_damaged_section_is_skipped(tmp_path):
    path = write_video(tmp_path / "a.avi", [100] * 700)
    zero_frames(path, *range(50, 650))
    video = VideoFile(path)
    assert len(read(video)) == 100
    assert video.problem == "600 of 700 frames cannot be decoded: 50 to 649"


@pytest.mark.parametrize("name", ["a.avi", "a.mkv"])
def test_truncated_video_gives_remaining_frames_with_problem(tmp_path, name):
    path = write_video(tmp_path / name, GRAYS)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    video = VideoFile(path)
    found = read(video)
    assert 2 < len(found) < 25
    assert "it is cut short" in video.problem
    if name == "a.avi":
        assert video.dropped() == 30 - len(found)


def test_video_of_killed_recorder_is_read_to_end(tmp_path):
    path = write_video(tmp_path / "a.mkv", GRAYS)
    forget_length(path)
    video = VideoFile(path)
    assert (video.counted, video.estimate) == (None, 0)
    assert read(video) == expected()
    assert video.problem is None
    assert VideoFile(path).count() == 30


@pytest.mark.parametrize("name", ["a.avi", "a.mkv", "a.mpg"])
def test_seek_returns_the_requested_frame(tmp_path, name):
    """OpenCV gives others, without a word, where there is no index: always the first one of such a Matroska file."""
    path = write_video(tmp_path / name, GRAYS, "MJPG" if name != "a.mpg" else "MPG1", 25.0)
    if name == "a.mkv":
        forget_length(path)
    video = VideoFile(path)
    for number in (20, 5, 29, 0, 12, 13):
        video.seek(number)
        image = video.read()
        assert video.number == number
        assert round(float(image.mean())) == pytest.approx(GRAYS[number], abs=6)


def test_impossible_frame_count_is_ignored(tmp_path):
    path = write_video(tmp_path / "a.avi", GRAYS)
    content = bytearray(path.read_bytes())
    for header, place in ((b"avih", 16), (b"strh", 32)):
        start = content.index(header) + 8 + place
        content[start : start + 4] = (1 << 30).to_bytes(4, "little")
    path.write_bytes(content)
    video = VideoFile(path)
    assert read(video) == expected()
    assert (video.counted, video.problem) == (None, None)


def test_duration_longer_than_frames_is_no_problem(tmp_path):
    """That of the sound, as a rule; the last frames are looked for."""
    path = write_video(tmp_path / "a.mkv", GRAYS)
    content = bytearray(path.read_bytes())
    place = content.index(b"\x44\x89\x88") + 3
    content[place : place + 8] = b"\x40\xb3\x88\0\0\0\0\0"  # 5000 ms
    path.write_bytes(content)
    video = VideoFile(path)
    assert video.estimate == 50
    assert read(video) == expected()
    assert video.problem is None
    assert VideoFile(path).count() == 30


@pytest.mark.parametrize("content", [b"", b"no video at all\n" * 100])
def test_non_video_file_is_rejected(tmp_path, content):
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(DamagedFileError, match="it is damaged, or of an unknown kind"):
        VideoFile(tmp_path / "a.mp4")


def test_truncated_mp4_is_rejected_as_cut_short(tmp_path):
    """What describes its frames lies at its end."""
    path = write_video(tmp_path / "a.mp4", GRAYS, "mp4v")
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(DamagedFileError, match="it is cut short"):
        VideoFile(path)


def test_trimmed_mp4_has_no_problem(tmp_path):
    """An edit list shows the last two of three seconds; OpenCV gives those frames alone, but counts all."""
    path = write_video(tmp_path / "a.mp4", GRAYS, "mp4v")
    assert container_of(path).counts_frames
    content = bytearray(path.read_bytes())
    edits = content.index(b"elst") + 4
    movie_scale = int.from_bytes(content[content.index(b"mvhd") + 16 :][:4], "big")
    media_scale = int.from_bytes(content[content.index(b"mdhd") + 16 :][:4], "big")
    content[edits + 8 : edits + 12] = (2 * movie_scale).to_bytes(4, "big")
    content[edits + 12 : edits + 16] = media_scale.to_bytes(4, "big")
    path.write_bytes(content)
    assert not container_of(path).counts_frames
    video = VideoFile(path)
    assert len(read(video)) < 30
    assert video.problem is None


@pytest.mark.parametrize(("claimed", "is_believed"), [(1000.0, False), (0.01, False), (240.0, True)])
def test_impossible_frame_rate_is_replaced(tmp_path, claimed, is_believed):
    video = VideoFile(write_video(tmp_path / "a.avi", [100] * 3, rate=claimed))
    assert video.rate == (claimed if is_believed else 30.0)
    assert video.rate_doubt == ("" if is_believed else f"it claims {claimed:g} frames a second")


def test_container_without_frame_count_is_accepted(tmp_path):
    for name, content in (
        ("a.gif", b"GIF89a"),
        ("a.mkv", b"\x1a\x45\xdf\xa3"),
        ("a.mp4", b"\0\0\0\x08ftyp"),
        ("empty_mvhd.mp4", b"\0\0\0\x08ftyp\0\0\0\x10moov\0\0\0\x08mvhd"),
        ("no_mvhd.mp4", b"\0\0\0\x08ftyp\0\0\0\x10moov\0\0\0\x08trak"),
        ("b", b""),
    ):
        (tmp_path / name).write_bytes(content)
        assert container_of(tmp_path / name).counts_frames is False


@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "a.mkv"])
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_container_header_never_raises(tmp_path, name, data):
    path = tmp_path / name
    if not path.exists():
        write_video(path, [100] * 3, "MJPG" if name == "a.avi" else "mp4v")
    damaged = bytearray(path.read_bytes())
    ends = [index for index in range(len(damaged)) if index < 512 or index > len(damaged) - 1024]
    for position in data.draw(st.lists(st.sampled_from(ends), min_size=1, max_size=8)):
        damaged[position] = data.draw(st.integers(0, 255))
    (tmp_path / "damaged").write_bytes(damaged)
    assert isinstance(container_of(tmp_path / "damaged"), Container)


def test_undecodable_file_name_does_not_crash(tmp_path):
    """OpenCV ends it with a segmentation fault."""
    path = write_video(tmp_path / "film.avi", GRAYS).rename(tmp_path / os.fsdecode(b"film\xe9.avi"))
    video = VideoFile(path)
    assert read(video) == expected()
    (tmp_path / "bare.png").write_bytes(encoded(".png"))
    bare = (tmp_path / "bare.png").rename(tmp_path / os.fsdecode(b"bare\xe9"))
    assert kind_of_path(bare) is FileKind.IMAGE
