"""The page's server: who may use it, newest frames to each browser, and no work without one."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

pytest.importorskip("aiohttp", reason="the page needs the extra `view`")

import aiohttp
from view_messages import decode_view
from waiting import limit, wait_until

from depth_anything_ros.web_view import feed as feed_module
from depth_anything_ros.web_view.feed import Feed
from depth_anything_ros.web_view.frames import ViewFrame, encode_frame
from depth_anything_ros.web_view.server import IN_FLIGHT, ViewError, ViewServer


def frame(stamp: int) -> ViewFrame:
    return ViewFrame(stamp, np.zeros((6, 8, 3), np.uint8), np.full((6, 8), 2.0, np.float32))


async def echo(values) -> str:
    if "bad" in values:
        raise ViewError("that is not possible")
    return f"did {sorted(values)}"


@contextmanager
def serving(host: str = "127.0.0.1", feed: Feed | None = None, port: int = 0) -> Iterator[ViewServer]:
    server = ViewServer(feed or Feed(lambda _: None), lambda: {"rate": 1.0}, {"echo": echo}, host, port)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, limit(30)))


async def get(url: str, method: str = "get", **options) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.request(method, url, **options) as answer:
        return answer.status, await answer.text()


def test_page_and_its_scripts_are_served():
    with serving() as server:
        for path, beginning in (("", "<!doctype html>"), ("view.js", "//"), ("three.min.js", "/**")):
            status, text = run(get(server.url + path))
            assert status == 200
            assert text.startswith(beginning)
        assert run(get(server.url + "../server.py"))[0] == 404


def test_other_machines_need_the_token():
    with serving("0.0.0.0") as server:
        base = f"http://127.0.0.1:{server.port}"
        assert len(server.token) > 20
        for address in ("/", "/stream", "/?token=wrong", "/?token=%C3%A9%ED%A0%80"):
            status, text = run(get(base + address))
            assert status == 403
            assert "token" in text
        status, _ = run(get(f"{base}/actions/echo", "post", data="{}"))
        assert status == 403
        assert run(get(f"{base}/?token={server.token}"))[0] == 200
        assert server.url.endswith(f"/?token={server.token}")


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://evil.example"}, {"Host": "evil.example"}, {"Host": "127.0.0.1.evil.example:80"}]
)
def test_pages_of_other_sites_are_refused(headers):
    """A page of another site, or a name that an attacker lets point to this machine, must not reach the robot."""
    with serving() as server:
        assert run(get(server.url, headers=headers))[0] == 403
        status, _ = run(get(server.url + "actions/echo", "post", headers=headers, data="{}"))
        assert status == 403


def test_actions_answer_in_words():
    with serving() as server:
        address = server.url + "actions/"
        assert run(get(address + "echo", "post", data='{"a": 1}')) == (200, json.dumps({"text": "did ['a']"}))
        assert run(get(address + "echo", "post", data='{"bad": 1}')) == (
            409,
            json.dumps({"text": "that is not possible"}),
        )
        assert run(get(address + "echo", "post", data="[1]"))[0] == 409
        assert run(get(address + "echo", "post", data="no json"))[0] == 409
        assert run(get(address + "unknown", "post", data="{}"))[0] == 404


def test_taken_port_is_an_error_at_start():
    with serving() as server, pytest.raises(OSError, match="address already in use"), serving(port=server.port):
        pass


def test_failed_start_leaves_nothing_to_stop():
    """`stop` after a failed start must not hide why it failed."""
    with serving() as first:
        for _ in range(20):
            server = ViewServer(Feed(lambda _: None), dict, {}, port=first.port)
            with pytest.raises(OSError, match="address already in use"):
                server.start()
            server.stop()


async def receive_frame(socket) -> tuple[bytes, list[dict]]:
    """Return the next frame, and the reports before it."""
    reports = []
    async for message in socket:
        if message.type == aiohttp.WSMsgType.BINARY:
            return message.data, reports
        reports.append(json.loads(message.data))
    raise AssertionError("the server has closed the connection")


def test_each_browser_gets_the_newest_frame_when_it_is_ready():
    feed = Feed(lambda _: None)

    async def watch(server: ViewServer) -> list[int]:
        async with aiohttp.ClientSession() as session, session.ws_connect(server.url + "stream") as socket:
            wait_until(lambda: feed.viewers, "the viewer")
            numbers = []
            for stamp in range(1, IN_FLIGHT + 1):
                feed.publish(frame(stamp))
                content, _ = await receive_frame(socket)
                numbers.append(decode_view(content).header["stamp"])
            for stamp in range(10, 60):  # the browser is not ready: none of these is queued for it
                feed.publish(frame(stamp))
            await socket.send_str("ready")
            content, _ = await receive_frame(socket)
            return [*numbers, decode_view(content).header["stamp"]]

    with serving(feed=feed) as server:
        assert run(watch(server)) == [*range(1, IN_FLIGHT + 1), 59]


def test_frame_is_encoded_once_for_all_and_not_for_nobody(monkeypatch):
    encoded = []
    monkeypatch.setattr(feed_module, "encode_frame", lambda *a: encoded.append(1) or encode_frame(*a))
    changes: list[bool] = []
    feed = Feed(changes.append)

    async def watch(server: ViewServer) -> None:
        async with aiohttp.ClientSession() as session:
            sockets = [await session.ws_connect(server.url + "stream") for _ in range(10)]
            wait_until(lambda: feed.viewers == 10, "ten viewers")
            feed.publish(frame(5))
            contents = [(await receive_frame(socket))[0] for socket in sockets]
            assert len(set(contents)) == 1
            for socket in sockets:
                await socket.close()

    with serving(feed=feed) as server:
        for _ in range(20):
            feed.publish(frame(1))
        assert encoded == []
        run(watch(server))
        wait_until(lambda: changes == [True, False], "the end of the last viewer")
        assert len(encoded) == 1
        feed.publish(frame(6))
    assert len(encoded) == 1
    assert feed.viewers == 0


def test_next_browser_does_not_see_an_old_frame():
    feed = Feed(lambda _: None)

    async def watch(server: ViewServer) -> int:
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(server.url + "stream") as socket:
                wait_until(lambda: feed.viewers, "the first viewer")
                feed.publish(frame(1))
                await receive_frame(socket)
            wait_until(lambda: not feed.viewers, "the end of the first viewer")
            async with session.ws_connect(server.url + "stream") as socket:
                report = await socket.receive()  # the server now waits for a frame
                assert report.type == aiohttp.WSMsgType.TEXT
                feed.publish(frame(2))
                return decode_view((await receive_frame(socket))[0]).header["stamp"]

    with serving(feed=feed) as server:
        assert run(watch(server)) == 2


def test_browser_that_stops_reading_holds_nobody_up():
    feed = Feed(lambda _: None)

    async def watch(server: ViewServer) -> None:
        async with aiohttp.ClientSession() as session:
            slow = await session.ws_connect(server.url + "stream")
            quick = await session.ws_connect(server.url + "stream")
            wait_until(lambda: feed.viewers == 2, "two viewers")
            for stamp in range(1, 40):
                feed.publish(frame(stamp))
                content, _ = await receive_frame(quick)
                assert decode_view(content).header["stamp"] == stamp
                await quick.send_str("ready")
            await slow.close()

    with serving(feed=feed) as server:
        run(watch(server))


def test_reports_arrive_without_frames_and_count_viewers():
    async def watch(server: ViewServer) -> dict:
        async with aiohttp.ClientSession() as session, session.ws_connect(server.url + "stream") as socket:
            return json.loads((await socket.receive()).data)

    with serving() as server:
        assert run(watch(server)) == {"rate": 1.0, "viewers": 1}


def test_server_ends_with_browsers_connected():
    async def watch(server: ViewServer) -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(server.url + "stream") as socket:
            threading.Thread(target=server.stop).start()
            async for message in socket:
                assert message.type == aiohttp.WSMsgType.TEXT

    with serving() as server:
        run(watch(server))
        wait_until(lambda: not server._thread.is_alive(), "the end of the server")
