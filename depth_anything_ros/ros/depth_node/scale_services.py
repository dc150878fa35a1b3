"""The services `~/set_scale` and `~/reset_scale` of the depth node."""

from __future__ import annotations

from collections.abc import Mapping

from rclpy.node import Node
from std_srvs.srv import Trigger

from depth_anything_ros.ros.depth_node.camera_stream import CameraStream
from depth_anything_ros.ros.depth_node.parameters import DepthParameters


class ScaleServices:
    """The services that fix the measured scale of all cameras, and that release it.

    Args:
        node: The depth node.
        streams: Its cameras, by name.
        declared: Its parameters.
    """

    def __init__(self, node: Node, streams: Mapping[str, CameraStream], declared: DepthParameters) -> None:
        self._node, self._streams, self._declared = node, streams, declared
        node.create_service(Trigger, "~/set_scale", self.set_scale)
        node.create_service(Trigger, "~/reset_scale", self.reset_scale)

    def set_scale(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Keep the currently measured scale as the fixed one, until `~/reset_scale`."""
        results = {name: stream.fix_scale() for name, stream in self._streams.items()}
        response.success = all(is_fixed for is_fixed, _ in results.values())
        response.message = "; ".join(f"{name}: {text}" if name else text for name, (_, text) in results.items())
        return response

    def reset_scale(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Restore the scale given at start, or the nominal one."""
        for stream in self._streams.values():
            stream.reset_scale()
        # Both parameters in one call, so that no frame sees half of a scale.
        response.success = self._node.set_parameters_atomically(self._declared.scales_at_start()).successful
        scales = [scale.text for stream in self._streams.values() if (scale := stream.scale) is not None]
        response.message = "; ".join(scales) or "back to the scale given at start"
        return response
