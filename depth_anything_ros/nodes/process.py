"""What a node's process needs around it: the middleware's profile, memory, signals, and an exit status."""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Callable, Sequence

import rclpy
from rcl_interfaces.msg import ParameterEvent
from rclpy.exceptions import ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from depth_anything_ros.allocation import keep_freed_memory
from depth_anything_ros.share import use_fast_dds_profile

USER_ERRORS = (RuntimeError, ValueError, OSError, ParameterException)
"""What a node raises when it cannot start, or go on, for a reason that a user can mend."""


def run_node(name: str, create: Callable[[], Node], arguments: Sequence[str] | None = None) -> int:
    """Runs one node; see `run_nodes`."""
    return run_nodes(name, [create], arguments)


def run_nodes(name: str, create: Sequence[Callable[[], Node]], arguments: Sequence[str] | None = None) -> int:
    """Runs nodes until SIGINT, SIGTERM, a failure or the end of one, and returns the process's exit status.

    A node that ends by itself has a future called ``finished``. The signals are handled here and not by rclpy, whose
    handlers invalidate the context while the nodes still publish; so they end in order, and without a traceback.
    Which topics they publish is logged once they all run.
    0 after a signal or an end; 1, with one line in the log under ``name``, for one of `USER_ERRORS` while a node is
    created or in its ``finished``. ``arguments``: the command line with its ROS arguments; default: the
    process's own.
    """
    keep_freed_memory()
    stop: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()  # put() is safe in a signal handler
    # Until all run a signal interrupts, for an engine may be in the making for minutes.
    _handle_signals(signal.default_int_handler)
    nodes: list[Node] = []
    try:
        try:
            use_fast_dds_profile()
            rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
            for create_node in create:
                nodes.append(create_node())
            _handle_signals(lambda *_: stop.put(None))
            get_logger(name).info(f"publishes {', '.join(_topics(nodes))}")
        except USER_ERRORS as error:
            get_logger(name).fatal(f"cannot start: {_one_line(error)}")
            return 1
        except KeyboardInterrupt:
            get_logger(name).info("interrupted while starting")
            return 0
        failure = _spin_until(stop, nodes)
        for future in _futures(nodes):
            if future.done() and future.exception() is not None:
                if not isinstance(future.exception(), USER_ERRORS):
                    raise future.exception()
                get_logger(name).fatal(f"cannot go on: {_one_line(future.exception())}")
                return 1
    finally:
        _handle_signals(lambda *_: stop.put(None))  # a second one does not interrupt what is cleaned up
        for node in reversed(nodes):
            node.destroy_node()
        rclpy.try_shutdown()
    if failure is not None:
        raise failure
    return 0


def _handle_signals(handler: Callable[..., object]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


def _topics(nodes: Sequence[Node]) -> list[str]:
    """What the nodes publish, by resolved name; the parameter events that every node publishes are left out."""
    publishers = [publisher for node in nodes for publisher in node.publishers]
    return sorted({publisher.topic_name for publisher in publishers if publisher.msg_type is not ParameterEvent})


def _futures(nodes: Sequence[Node]) -> list[rclpy.task.Future]:
    return [node.finished for node in nodes if hasattr(node, "finished")]


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _spin_until(stop: queue.SimpleQueue[BaseException | None], nodes: Sequence[Node]) -> BaseException | None:
    """Spins the nodes until something is put into ``stop``, and returns that: None, or the error of a callback."""
    executor = SingleThreadedExecutor()
    for node in nodes:
        executor.add_node(node)
    for future in _futures(nodes):
        future.add_done_callback(lambda _: stop.put(None))
    # On a thread of its own, since the main thread heeds signals only while it waits in Python.
    spinner = threading.Thread(target=_spin, args=(executor, stop), name="spin")
    spinner.start()
    failure = stop.get()
    executor.shutdown()
    spinner.join()
    return failure


def _spin(executor: SingleThreadedExecutor, stop: queue.SimpleQueue[BaseException | None]) -> None:
    """Spins until the executor is shut down; hands an error of a callback to the waiting main thread."""
    try:
        executor.spin()
    except BaseException as error:
        stop.put(error)
