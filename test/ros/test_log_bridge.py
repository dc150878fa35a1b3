"""The package's Python log records appear in the node's log with their severity, until the bridge is detached."""

from __future__ import annotations

import logging

import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from rcl_interfaces.msg import Log  # noqa: E402
from rclpy.logging import LoggingSeverity  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy  # noqa: E402
from waiting import wait_until  # noqa: E402

from depth_anything_ros.ros.process.log_bridge import LogBridge  # noqa: E402


def own(messages: list[Log]) -> list[Log]:
    return [message for message in messages if message.name == "bridged"]


def test_log_bridge_keeps_severity(monkeypatch):
    rclpy.init()
    node = Node("bridged")
    received: list[Log] = []
    qos = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    node.create_subscription(Log, "/rosout", received.append, qos)
    bridge = LogBridge(node.get_logger())
    log = logging.getLogger("depth_anything_ros.runtime.test")
    monkeypatch.setattr(log, "propagate", True)  # once `launch` is imported, as other tests do, new loggers do not
    try:
        for _ in range(2):  # rclpy refuses a second severity from one line
            log.debug("not this")
            log.info("an engine is built: %d %%", 50)
            log.warning("refused")
            log.error("broken")
        bridge.detach()
        log.warning("nor this")
        wait_until(lambda: len(own(received)) >= 6, "the log", step=lambda: rclpy.spin_once(node, timeout_sec=0.1))
    finally:
        bridge.detach()
        node.destroy_node()
        rclpy.try_shutdown()
    assert logging.getLogger("depth_anything_ros").level == logging.NOTSET  # as before: nobody listens any more
    said = [(message.level, message.msg) for message in own(received)]
    assert said == [(20, "an engine is built: 50 %"), (30, "refused"), (40, "broken")] * 2


@pytest.mark.parametrize("is_asked_for", [False, True])
def test_log_bridge_forwards_debug_if_node_logs_debug(is_asked_for):
    rclpy.init()
    node = Node("verbose")
    if is_asked_for:
        node.get_logger().set_level(LoggingSeverity.DEBUG)
    bridge = LogBridge(node.get_logger())
    try:
        log = logging.getLogger("depth_anything_ros.runtime.test")
        assert log.isEnabledFor(logging.DEBUG) is is_asked_for
        log.debug("a backend is not available")
    finally:
        bridge.detach()
        node.destroy_node()
        rclpy.try_shutdown()
