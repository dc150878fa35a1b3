"""A node's reports on /diagnostics."""

from __future__ import annotations

from collections.abc import Callable

from depth_node_graph import (
    Client,
    node_and_client,  # noqa: F401 - the fixture `graph`
    private_context,  # noqa: F401 - the fixture `context`
)
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

from depth_anything_ros.ros.depth_node.node import DepthNode


class Reports:
    """The statuses of one node, in order of arrival."""

    def __init__(self, node: DepthNode, client: Client) -> None:
        self._client, self._name = client, node.get_fully_qualified_name().lstrip("/")
        self._messages: list[DiagnosticArray] = []
        client.create_subscription(DiagnosticArray, "/diagnostics", self._messages.append, 100)

    def wait_for(self, what: str, condition: Callable[[DiagnosticStatus, dict[str, str]], object]) -> dict[str, str]:
        """Return the values of the first later status with this name for which the condition holds."""
        self._messages.clear()
        found: list[dict[str, str]] = []

        def look() -> bool:
            while self._messages:
                message = self._messages.pop(0)
                for status in message.status:
                    values = {pair.key: pair.value for pair in status.values}
                    if status.name == f"{self._name}: {what}" and condition(status, values):
                        assert message.header.stamp.sec > 0
                        found.append(values)
            return bool(found)

        self._client.spin_until(look, f"a status of {what}")
        return found[0]
