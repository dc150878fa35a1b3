"""The page in a real browser: it loads without errors, shows points, and its numbers are those of the depth."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

pytest.importorskip("aiohttp", reason="the page needs the extra `view`")

from browser import find_browser, open_page
from waiting import limit

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.web_view.feed import Feed
from depth_anything_ros.web_view.frames import ViewFrame
from depth_anything_ros.web_view.server import ViewServer

pytestmark = pytest.mark.skipif(find_browser() is None, reason="no Chromium is installed")
HEIGHT, WIDTH = 240, 320
CAMERA = Camera.from_field_of_view(WIDTH, HEIGHT, 60)
STATUS = {
    "rate": 29.9,
    "latency": 0.0321,
    "scale": "nominal",
    "diagnostics": {"node: camera": {"level": 1, "text": "<b>overload</b>", "values": {}}},
    "log": [{"level": "warn", "text": "a <script>line</script>", "time": 1}],
}


def click(canvas: str, x: int, y: int) -> str:
    return (
        f"(() => {{ const c = document.getElementById('{canvas}'), b = c.getBoundingClientRect();"
        f" c.dispatchEvent(new MouseEvent('click', {{ clientX: b.left + ({x} + 0.5) / {WIDTH} * b.width,"
        f" clientY: b.top + ({y} + 0.5) / {HEIGHT} * b.height }})); return true; }})()"
    )


def scene(wall: float) -> ViewFrame:
    """A wall, with a red square 1 m before it; the top rows are unknown."""
    depth = np.full((HEIGHT, WIDTH), wall, np.float32)
    depth[100:140, 140:180] = wall - 1
    depth[:20] = np.nan
    image = np.full((HEIGHT, WIDTH, 3), (40, 90, 160), np.uint8)
    image[100:140, 140:180] = 200, 30, 30
    return ViewFrame(1, image, depth, CAMERA)


def test_page_shows_points_measures_and_sets_the_scale(tmp_path):
    asked = []

    async def set_scale(values) -> str:
        asked.append(dict(values))
        return "set scale.a = 2"

    feed = Feed(lambda _: None)
    server = ViewServer(feed, lambda: STATUS, {"scale": set_scale}, port=0)
    server.start()

    async def look() -> None:
        async with open_page(server.url, tmp_path) as page:
            await page.wait_for("window.viewState && viewState.connected")
            feed.publish(scene(4.0))
            await page.wait_for("viewState.frames > 0 && viewState.status")
            assert await page.evaluate("viewState.points") == (HEIGHT - 20) * WIDTH
            assert await page.evaluate("viewState.error") == ""
            text = await page.evaluate("document.body.innerText")
            for words in ("29.9 Hz", "32 ms", "nominal", "center 3.00 m", "<b>overload</b>", "a <script>line</script>"):
                assert words in text
            assert await page.evaluate("document.getElementById('guess').innerText") == "nominal: the size is guessed"
            # The cloud is drawn: its colors are those of the image, and the red square is before the wall.
            await page.wait_for(
                "(() => { const c = document.querySelector('#scene canvas'), t = document.createElement('canvas');"
                " [t.width, t.height] = [c.width, c.height]; const x = t.getContext('2d'); x.drawImage(c, 0, 0);"
                " const p = x.getImageData(0, 0, c.width, c.height).data; let red = 0, blue = 0;"
                " for (let i = 0; i < p.length; i += 4) { red += p[i] > 150 && p[i + 2] < 80;"
                " blue += p[i + 2] > 120 && p[i] < 80; }"
                " return red > 500 && blue > 5000; })()"
            )
            # Two corners of the wall, and a pixel without depth.
            await page.evaluate(click("image", 10, 30))
            await page.evaluate(click("depth", 310, 230))
            points = CAMERA.back_project(np.array([[10, 30], [310, 230]]), np.array([4.0, 4.0]))
            shown = await page.evaluate("viewState.distance")
            assert shown == pytest.approx(np.linalg.norm(points[0] - points[1]), rel=1e-3)
            await page.evaluate("document.getElementById('true').value = '2.5'")
            await page.evaluate("document.getElementById('scaleForm').requestSubmit()")
            await page.wait_for("document.getElementById('answer').textContent == 'set scale.a = 2'")
            # The shown distance has the old scale, so it cannot be used again.
            await page.wait_for("document.getElementById('scaleForm').hidden")
            await page.evaluate(click("image", 10, 5))
            assert "no depth" in await page.evaluate("document.getElementById('distance').textContent")
            # A frozen page keeps its frame, and goes on afterwards.
            await page.evaluate("document.getElementById('freeze').click()")
            frames = await page.evaluate("viewState.frames")
            feed.publish(scene(8.0))
            await page.wait_for("viewState.held > 0")
            assert await page.evaluate("viewState.frames") == frames
            await page.evaluate("document.getElementById('freeze').click()")
            feed.publish(scene(10.0))
            await page.wait_for("document.getElementById('center').textContent == 'center 9.00 m'")
            await page.screenshot(tmp_path / "page.png")
            assert page.errors == []
            assert asked == [{"shown": shown, "true": 2.5}]

    try:
        asyncio.run(asyncio.wait_for(look(), limit(120)))
    finally:
        server.stop()


def test_page_works_with_its_token(tmp_path):
    feed = Feed(lambda _: None)
    server = ViewServer(feed, lambda: STATUS, {}, host="0.0.0.0", port=0)
    server.start()

    async def look() -> None:
        async with open_page(server.url.replace("0.0.0.0", "127.0.0.1"), tmp_path) as page:
            await page.wait_for("window.viewState && viewState.connected")
            feed.publish(scene(4.0))
            await page.wait_for("viewState.frames > 0")
            assert page.errors == []

    try:
        asyncio.run(asyncio.wait_for(look(), limit(120)))
    finally:
        server.stop()


def test_page_says_why_it_shows_nothing_and_reconnects(tmp_path):
    feed = Feed(lambda _: None)
    server = ViewServer(feed, lambda: STATUS, {}, port=0)
    server.start()
    notice = "document.getElementById('notice').textContent"

    async def look() -> None:
        async with open_page(server.url, tmp_path) as page:
            await page.wait_for(f"window.viewState && {notice} == 'no depth yet: <b>overload</b>'")
            feed.publish(ViewFrame(1, np.zeros((6, 8, 3), np.uint8), np.full((6, 8), 2.0, np.float32)))
            await page.wait_for(f"{notice} == 'no points: camera_info is missing'")
            server.stop()
            await page.wait_for(f"{notice}.startsWith('the connection is lost')")
            again = ViewServer(feed, lambda: STATUS, {}, port=server.port)
            again.start()
            try:
                await page.wait_for("viewState.connected")
            finally:
                again.stop()

    try:
        asyncio.run(asyncio.wait_for(look(), limit(120)))
    finally:
        server.stop()


def test_slanted_surface_has_no_gaps_and_a_phone_shows_the_cloud(tmp_path):
    """Points on the side of a box are farther apart than those on its front. A phone's controls leave room."""
    feed = Feed(lambda _: None)
    server = ViewServer(feed, lambda: STATUS, {}, port=0)
    server.start()
    inverse = np.interp(np.arange(WIDTH), (150, 168), (0.5, 0.15))
    depth = np.repeat((1 / inverse)[np.newaxis], HEIGHT, axis=0).astype(np.float32)
    frame = ViewFrame(1, np.full((HEIGHT, WIDTH, 3), (200, 30, 30), np.uint8), depth, CAMERA)
    # Columns of the cloud in the picture's middle row, and those without a point.
    gaps = (
        "(() => { const c = document.querySelector('#scene canvas'), t = document.createElement('canvas');"
        " [t.width, t.height] = [c.width, c.height]; const x = t.getContext('2d'); x.drawImage(c, 0, 0);"
        " const p = x.getImageData(0, Math.round(c.height / 2), c.width, 1).data, red = [];"
        " for (let i = 0; i < c.width; i++) if (p[4 * i] > 120) red.push(i);"
        " return red.length > 100 && [red.length, red.at(-1) - red[0] + 1 - red.length]; })()"
    )
    below = "document.getElementById('tools').getBoundingClientRect().bottom"
    scene_box = "document.getElementById('scene').getBoundingClientRect()"

    async def look() -> None:
        async with open_page(server.url, tmp_path) as page:
            await page.wait_for("window.viewState && viewState.connected")
            feed.publish(frame)
            red, absent = await page.wait_for(gaps)
            assert absent < 0.01 * red
            await page.call(
                "Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True
            )
            await page.wait_for("innerWidth == 390 && document.documentElement.scrollWidth == 390")
            assert await page.evaluate(f"({below} - {scene_box}.top) / {scene_box}.height") < 0.2

    try:
        asyncio.run(asyncio.wait_for(look(), limit(120)))
    finally:
        server.stop()
