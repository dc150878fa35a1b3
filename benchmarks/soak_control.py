"""The depth node's services, for `soak.py`: one thread calls them while another spins the client."""

from __future__ import annotations

import threading
from typing import Any

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool, Trigger

ANSWER_SECONDS = 30.0


class Control:
    """Calls the services of the node ``depth_node`` in the namespace of ``node``.

    Raises TimeoutError without an answer.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._clients = {
            name: node.create_client(kind, f"depth_node/{name}")
            for name, kind in (
                ("enable", SetBool),
                ("reload_model", Trigger),
                ("reset_scale", Trigger),
                ("change_state", ChangeState),
                ("set_parameters", SetParameters),
            )
        }

    def wait(self, seconds: float) -> bool:
        """Return whether all services appear within ``seconds``."""
        return all(client.wait_for_service(seconds) for client in self._clients.values())

    def enable(self, is_enabled: bool) -> bool:
        """Enable or disable the node. Return whether it succeeds."""
        return self._call("enable", SetBool.Request(data=is_enabled)).success

    def reload_model(self) -> bool:
        """Load the model that the parameters name. Return whether it succeeds."""
        return self._call("reload_model", Trigger.Request()).success

    def reset_scale(self) -> bool:
        """Restore the initial scale. Return whether it succeeds."""
        return self._call("reset_scale", Trigger.Request()).success

    def change(self, *names: str) -> bool:
        """Request transitions, such as "deactivate". Return whether all succeed."""
        ids = [getattr(Transition, f"TRANSITION_{name.upper()}") for name in names]
        requests = (ChangeState.Request(transition=Transition(id=number)) for number in ids)
        return all(self._call("change_state", request).success for request in requests)

    def set_parameters(self, values: dict[str, Any]) -> list[bool]:
        """Set parameters. Return for each whether the node accepts it."""
        messages = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        answer = self._call("set_parameters", SetParameters.Request(parameters=messages))
        return [result.successful for result in answer.results]

    def _call(self, name: str, request: Any) -> Any:
        done = threading.Event()
        future = self._clients[name].call_async(request)
        future.add_done_callback(lambda _: done.set())
        if not done.wait(ANSWER_SECONDS):
            self._clients[name].remove_pending_request(future)
            raise TimeoutError(f"no answer from ~/{name} within {ANSWER_SECONDS:g} s")
        return future.result()
