"""State changes of a managed node."""

from __future__ import annotations

from depth_node_graph import (
    Client,
    node_and_client,  # noqa: F401 - the fixture `graph`
    private_context,  # noqa: F401 - the fixture `context`
)
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from node_services import call


def change(client: Client, transition: int | str) -> bool:
    requested = {"label": transition} if isinstance(transition, str) else {"id": transition}
    request = ChangeState.Request(transition=Transition(**requested))
    return call(client, ChangeState, "change_state", request).success


def state(client: Client) -> int:
    return call(client, GetState, "get_state", GetState.Request()).current_state.id


def reach(client: Client, transition: int, reached: int) -> None:
    """Trigger a transition of a node in another process; repeat the request if its response is lost."""
    change(client, transition)
    assert state(client) == reached
