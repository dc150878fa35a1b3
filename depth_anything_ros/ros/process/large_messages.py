"""Send large images from one process to another, as cameras and the nodes do, and count what arrives.

The sender is a process of its own: `python -m depth_anything_ros.ros.process.large_messages TOPIC`. It reads a trial
as a line of JSON, sends its messages, and writes a line of JSON.
"""

from __future__ import annotations

import array
import gc
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median
from typing import Any, TextIO

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image

from depth_anything_ros.system.child_process import end_with_parent, take_output

DEPTH = 5
"""Messages in the queues, as in ROS's profile for sensors."""
SECONDS_TO_MEET = 15.0
"""Most seconds until both processes have found each other."""
SECONDS_TO_SEND = 10.0
"""Most seconds beyond the planned ones for the messages of a trial."""
SECONDS_TO_ARRIVE = 1.0
"""Seconds after the last arrival until the rest counts as lost."""
SECONDS_TO_END = 3.0
"""Seconds for the sender to end in order."""


class NoMeetingError(RuntimeError):
    """The two processes did not find each other, or the sender ended."""


@dataclass(frozen=True)
class Trial:
    """Messages of one size over one kind of connection.

    Attributes:
        size: bytes of the image.
        reliable: RELIABLE, or BEST_EFFORT.
        count: of messages.
        rate: per second.
    """

    size: int
    reliable: bool
    count: int
    rate: float

    @property
    def topic(self) -> str:
        """The last part of the topic's name."""
        return f"{'reliable' if self.reliable else 'best_effort'}_{self.size}"

    @property
    def quality(self) -> QoSProfile:
        """The quality of service of both ends."""
        kind = ReliabilityPolicy.RELIABLE if self.reliable else ReliabilityPolicy.BEST_EFFORT
        return QoSProfile(depth=DEPTH, history=HistoryPolicy.KEEP_LAST, reliability=kind)


@dataclass(frozen=True)
class Delivery:
    """What arrived of a trial.

    Attributes:
        trial: that was sent.
        sent: messages.
        received: messages.
        rate: of the arrivals in Hz; 0 with fewer than two.
        latency: median seconds from the call that sends to the callback; None if nothing arrived.
        longest: seconds.
    """

    trial: Trial
    sent: int
    received: int
    rate: float
    latency: float | None
    longest: float | None


TRIALS = tuple(Trial(size, reliable, 20, 20.0) for size in (1_000_000, 6_000_000) for reliable in (False, True))
"""A camera's image of 640x480 and one of 1920x1080, as numbers of bytes."""


def exchange(prefix: str, trials: Sequence[Trial]) -> Iterator[Delivery]:
    """Start a sender, and yield what arrives of each trial. Call it after `use_fast_dds_profile`.

    Args:
        prefix: of the topics, a name that nobody else uses.
        trials: to send, in their order.

    Raises:
        NoMeetingError: the two processes did not find each other, or the sender ended.
    """
    context = Context()
    rclpy.init(args=[], context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node(f"{prefix}_receiver", context=context, enable_rosout=False, start_parameter_services=False)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    spinner = threading.Thread(target=executor.spin, name="spin", daemon=True)
    receivers = {trial.topic: _Receiver(node, prefix, trial) for trial in trials}
    spinner.start()
    sender = _SenderProcess(prefix)
    try:
        for trial in trials:
            sent = sender.send(trial)
            receivers[trial.topic].wait_for(sent)
            yield receivers[trial.topic].delivery(sent)
    finally:
        sender.end()
        executor.shutdown()
        spinner.join(SECONDS_TO_END)
        _close(node)


class _Receiver:
    """The arrivals of a trial: times and latencies in seconds."""

    def __init__(self, node: Node, prefix: str, trial: Trial) -> None:
        self._trial = trial
        self._arrivals: list[tuple[float, float]] = []
        self._arrived = threading.Condition()
        node.create_subscription(Image, f"{prefix}/{trial.topic}", self._receive, trial.quality)

    def _receive(self, message: Image) -> None:
        now = time.monotonic_ns()
        with self._arrived:
            self._arrivals.append((now * 1e-9, (now - int(message.header.frame_id)) * 1e-9))
            self._arrived.notify()

    def wait_for(self, sent: int) -> None:
        """Wait until all messages are here, or none has come for `SECONDS_TO_ARRIVE`."""
        with self._arrived:
            while len(self._arrivals) < sent and self._arrived.wait(SECONDS_TO_ARRIVE):
                pass

    def delivery(self, sent: int) -> Delivery:
        with self._arrived:
            times, latencies = [time for time, _ in self._arrivals], [latency for _, latency in self._arrivals]
        span = times[-1] - times[0] if len(times) > 1 else 0.0
        rate = (len(times) - 1) / span if span else 0.0
        middle, longest = (median(latencies), max(latencies)) if latencies else (None, None)
        return Delivery(self._trial, sent, len(times), rate, middle, longest)


class _SenderProcess:
    """The other process, which ends with this one."""

    def __init__(self, prefix: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, prefix],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=partial(end_with_parent, os.getpid()),
        )
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read, name="sender", daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")

    def send(self, trial: Trial) -> int:
        """Let it send a trial. Return how many messages it has sent. Raises `NoMeetingError`."""
        assert self._process.stdin is not None
        limit = SECONDS_TO_MEET + trial.count / trial.rate + SECONDS_TO_SEND
        try:
            self._process.stdin.write(json.dumps(asdict(trial)) + "\n")
            self._process.stdin.flush()
            answer = self._answers.get(timeout=limit)
        except (BrokenPipeError, queue.Empty) as error:
            raise NoMeetingError(f"the sending process does not answer ({type(error).__name__})") from error
        if not answer:
            raise NoMeetingError(f"the sending process ended with status {self._process.wait()}")
        result: dict[str, Any] = json.loads(answer)
        if not result["met"]:
            raise NoMeetingError(f"two processes on this machine did not find each other within {SECONDS_TO_MEET:g} s")
        return int(result["sent"])

    def end(self) -> None:
        """End it, in order if possible: a killed process leaves its shared memory behind."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(SECONDS_TO_END)
        self._process.kill()
        self._process.wait()


def _close(node: Node) -> None:
    """End a node and its context, and free its shared memory."""
    context = node.context
    node.destroy_node()
    rclpy.try_shutdown(context=context)
    gc.collect()


def _send_trials(prefix: str, results: TextIO) -> None:
    """Be the sender: send each trial that standard input names."""
    context = Context()
    rclpy.init(args=[], context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node(f"{prefix}_sender", context=context, enable_rosout=False, start_parameter_services=False)
    for line in sys.stdin:
        trial = Trial(**json.loads(line))
        publisher = node.create_publisher(Image, f"{prefix}/{trial.topic}", trial.quality)
        deadline = time.monotonic() + SECONDS_TO_MEET
        while publisher.get_subscription_count() == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        met = publisher.get_subscription_count() > 0
        results.write(json.dumps({"met": met, "sent": _send(publisher, trial) if met else 0}) + "\n")
        results.flush()
    _close(node)


def _send(publisher: Any, trial: Trial) -> int:
    message = Image(height=1, width=trial.size, encoding="mono8", step=trial.size)
    message.data = array.array("B", bytes(trial.size))
    next_time = time.monotonic() + 1 / trial.rate  # a first pause: the receiver's end of the discovery
    for _ in range(trial.count):
        time.sleep(max(0.0, next_time - time.monotonic()))
        next_time = max(next_time + 1 / trial.rate, time.monotonic())
        message.header.frame_id = str(time.monotonic_ns())
        publisher.publish(message)
    return trial.count


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _send_trials(sys.argv[1], take_output())
