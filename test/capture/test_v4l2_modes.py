"""Formats and sizes of cameras, asked through ioctl calls that C answers with the kernel's own structures.

Machines of tests have no camera. A library before libc answers the calls on a file.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DRIVER = r"""
#include <errno.h>
#include <linux/videodev2.h>
#include <stdarg.h>
#include <string.h>

static int sizes(struct v4l2_frmsizeenum *s) {
    if (s->pixel_format == V4L2_PIX_FMT_YUYV) {
        if (s->index) return errno = EINVAL, -1;
        s->type = V4L2_FRMSIZE_TYPE_STEPWISE;
        s->stepwise = (struct v4l2_frmsize_stepwise){160, 1920, 16, 120, 1080, 8};
        return 0;
    }
    if (s->index > 1) return errno = EINVAL, -1;
    s->type = V4L2_FRMSIZE_TYPE_DISCRETE;
    s->discrete.width = s->index ? 1280 : 640;
    s->discrete.height = s->index ? 720 : 480;
    return 0;
}

static int rates(struct v4l2_frmivalenum *r) {
    if (r->pixel_format == V4L2_PIX_FMT_YUYV) {
        if (r->index) return errno = EINVAL, -1;
        r->type = V4L2_FRMIVAL_TYPE_CONTINUOUS;
        r->stepwise.min = (struct v4l2_fract){1, 60};
        r->stepwise.max = (struct v4l2_fract){1, 5};
        return 0;
    }
    if (r->index > (r->width == 640)) return errno = EINVAL, -1;
    r->type = V4L2_FRMIVAL_TYPE_DISCRETE;
    r->discrete = r->index ? (struct v4l2_fract){1, 15} : (struct v4l2_fract){1001, 30000};
    return 0;
}

int ioctl(int fd, unsigned long request, ...) {
    va_list list;
    va_start(list, request);
    void *argument = va_arg(list, void *);
    va_end(list);
    if (request == VIDIOC_QUERYCAP) {
        struct v4l2_capability *c = argument;
        strcpy((char *)c->driver, "uvcvideo");
        strcpy((char *)c->card, "Test Camera: HD");
        c->capabilities = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_META_CAPTURE | V4L2_CAP_DEVICE_CAPS;
        c->device_caps = CAPABILITIES;
        return 0;
    }
    if (request == VIDIOC_ENUM_FMT) {
        struct v4l2_fmtdesc *f = argument;
        if (f->type != V4L2_BUF_TYPE_VIDEO_CAPTURE || f->index > 1) return errno = EINVAL, -1;
        f->pixelformat = f->index ? V4L2_PIX_FMT_YUYV : V4L2_PIX_FMT_MJPEG;
        return 0;
    }
    if (request == VIDIOC_ENUM_FRAMESIZES) return sizes(argument);
    if (request == VIDIOC_ENUM_FRAMEINTERVALS) return rates(argument);
    return errno = ENOTTY, -1;
}
"""

PROGRAM = """
import json, sys
from pathlib import Path
from depth_anything_ros.doctor import cameras
from depth_anything_ros.doctor.checks import Options
from depth_anything_ros.doctor.section import Section

cameras.DEVICES = Path(sys.argv[1])
section = Section("cameras", "Cameras")
cameras.devices(section, Options())
print(json.dumps(section.to_json()))
"""


def ask(tmp_path: Path, capabilities: str, preload: bool = True) -> dict:
    """Return the section on a folder with one device, which the driver in C answers for."""
    library = tmp_path / "driver.so"
    if preload:
        if shutil.which("gcc") is None or not Path("/usr/include/linux/videodev2.h").is_file():
            pytest.skip("no gcc, or no header of Linux for video devices")
        (tmp_path / "driver.c").write_text(DRIVER)
        options = ["-shared", "-fPIC", f"-DCAPABILITIES={capabilities}", "-o", str(library)]
        subprocess.run(["gcc", *options, str(tmp_path / "driver.c")], check=True)
    (tmp_path / "devices").mkdir()
    (tmp_path / "devices" / "video0").touch()
    (tmp_path / "devices" / "videobuffer").touch()
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "devices")]
    environment = {**os.environ, **({"LD_PRELOAD": str(library)} if preload else {})}
    result = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return json.loads(result.stdout)


def test_modes_are_those_of_the_driver(tmp_path: Path) -> None:
    section = ask(tmp_path, "V4L2_CAP_VIDEO_CAPTURE")
    (device,) = section["facts"]["devices"]
    assert (device["name"], device["driver"], device["gives_images"]) == ("Test Camera: HD", "uvcvideo", True)
    modes = [(mode["format"], mode["width"], mode["height"], mode["rates"]) for mode in device["modes"]]
    assert modes == [
        ("MJPG", 640, 480, [29.97, 15.0]),
        ("MJPG", 1280, 720, [29.97]),
        ("YUYV", 160, 120, [60.0, 5.0]),
        ("YUYV", 1920, 1080, [60.0, 5.0]),
    ]
    assert any("MJPG: 640x480 at 29.97/15 Hz, 1280x720 at 29.97 Hz" in line for line in section["lines"])
    assert section["status"] == "ok"


def test_device_of_metadata_gives_no_images(tmp_path: Path) -> None:
    (device,) = ask(tmp_path, "V4L2_CAP_META_CAPTURE")["facts"]["devices"]
    assert not device["gives_images"]
    assert device["modes"] == []


def test_device_that_is_no_camera_is_a_note(tmp_path: Path) -> None:
    section = ask(tmp_path, "", preload=False)
    assert section["status"] == "note"
    assert "does not answer (Inappropriate ioctl for device)" in section["findings"][0]["text"]
