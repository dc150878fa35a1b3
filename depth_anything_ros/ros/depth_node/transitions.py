"""Lifecycle transitions that log why they fail, and never end the process."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from depth_anything_ros.ros.depth_node.model_loader import LoadingAbortedError
from depth_anything_ros.runtime.errors import ModelError


class Transitions:
    """Runs a node's transitions, and refuses those that are not possible in its state.

    rclpy hides exceptions of a transition. Up to Jazzy, an impossible transition raises in the executor and ends the
    process; an unknown label is not reported at all.

    Attributes:
        failure: the error of the latest transition; None if it succeeded.
    """

    def __init__(self, node: LifecycleNode) -> None:
        self.failure: Exception | None = None
        self._node = node
        self._has_started = False
        node._service_change_state.callback = self._guarded(node._service_change_state.callback)

    def run(
        self,
        action: Callable[[], None],
        managed_entities: Callable[[LifecycleState], TransitionCallbackReturn],
        state: LifecycleState,
    ) -> TransitionCallbackReturn:
        """Run a transition. A mistake of the user makes it fail; any other exception is an error. Both are logged.

        Args:
            action: what the node does.
            managed_entities: rclpy's own part of the transition.
            state: the state before.

        Returns:
            SUCCESS, FAILURE (the node stays in its state) or ERROR.
        """
        self.failure = None
        self._has_started = True
        try:
            action()
            return managed_entities(state)
        except LoadingAbortedError as error:  # requested
            self.failure = error
            self._node.get_logger().info(f"still {state.label}: {error}")
        except (ModelError, ValueError, OSError) as error:
            self.failure = error
            self._node.get_logger().error(f"still {state.label}: {error}")
        except Exception as error:
            self.failure = error
            self._node.get_logger().error(f"transition from {state.label} failed: {traceback.format_exc()}")
            return TransitionCallbackReturn.ERROR
        return TransitionCallbackReturn.FAILURE

    def _guarded(self, change: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """Return the callback of ~/change_state that logs refused transitions."""

        def guarded(request: Any, response: Any) -> Any:
            self._has_started = False
            state = self._node._state_machine.current_state[1]
            requested = request.transition.label or request.transition.id
            try:
                change(request, response)
            except Exception as error:  # the C state machine raises no public class
                self._node.get_logger().error(f"transition refused: {requested} in state {state}: {error}")
                response.success = False
            else:
                if not response.success and not self._has_started:
                    self._node.get_logger().error(f"transition refused: {requested} is not possible in state {state}")
            return response

        return guarded
