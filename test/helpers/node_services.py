"""Calls of a node's services, and its parameters."""

from __future__ import annotations

import time

from depth_node_graph import (
    PATIENCE,
    Client,
    node_and_client,  # noqa: F401 - the fixture `graph`
    private_context,  # noqa: F401 - the fixture `context`
)
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from waiting import wait_until

ANSWER_SECONDS = 8.0


def call(client: Client, service_type: type, name: str, request: object) -> object:
    """Return a service's response. Repeat the request if none arrives, because discovery may not be complete."""
    service = client.create_client(service_type, f"depth_node/{name}")
    client.spin_until(service.service_is_ready, name)
    futures = []

    def answers() -> list:
        return [future.result() for future in futures if future.done()]

    again = 0.0

    def ask_and_spin() -> None:
        nonlocal again
        if time.monotonic() >= again:
            futures.append(service.call_async(request))
            again = time.monotonic() + ANSWER_SECONDS
        client.spin_once()

    wait_until(answers, f"an answer of {name}", PATIENCE, ask_and_spin)
    return answers()[0]


def set_parameter(client: Client, name: str, value: object) -> tuple[bool, str]:
    request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
    (result,) = call(client, SetParameters, "set_parameters", request).results
    return result.successful, result.reason
