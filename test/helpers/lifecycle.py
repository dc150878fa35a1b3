"""A managed node brought to a state."""

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
    """A transition of a node in another process, whose answer may get lost, and the question be asked again."""
    change(client, transition)
    assert state(client) == reached
