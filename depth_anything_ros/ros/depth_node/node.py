"""The depth node: lifecycle, parameters, services and diagnostics. `worker` holds the way of a frame."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool, Trigger

from depth_anything_ros.ros.camera_node.parameters import CameraParameters
from depth_anything_ros.ros.depth_node.camera_stream import CameraStream
from depth_anything_ros.ros.depth_node.diagnostics import DiagnosticsPublisher, StreamReport, model_status
from depth_anything_ros.ros.depth_node.frame_scheduler import FrameScheduler
from depth_anything_ros.ros.depth_node.frame_statistics import FrameStatistics
from depth_anything_ros.ros.depth_node.model_loader import ModelLoader
from depth_anything_ros.ros.depth_node.parameters import DepthParameters, refused
from depth_anything_ros.ros.depth_node.scale_services import ScaleServices
from depth_anything_ros.ros.depth_node.stream_watch import StreamWatch
from depth_anything_ros.ros.depth_node.transitions import Transitions
from depth_anything_ros.ros.depth_node.worker import DepthWorker
from depth_anything_ros.ros.io.image_input import CameraFrame
from depth_anything_ros.ros.io.intra_process import LocalImages
from depth_anything_ros.ros.io.topic_qos import warn_of_unknown_overrides
from depth_anything_ros.ros.io.transforms import SensorTransforms
from depth_anything_ros.ros.process.graph_watch import GraphWatch, call_periodically
from depth_anything_ros.ros.process.log_bridge import LogBridge
from depth_anything_ros.ros.process.runner import run_node
from depth_anything_ros.ros.process.unknown_parameters import reject_unknown
from depth_anything_ros.runtime.estimator import Estimator
from depth_anything_ros.system.malloc import give_back_freed_memory

_CAMERA_PARAMETERS = [field.name for field in fields(CameraParameters)]
SUCCESS = TransitionCallbackReturn.SUCCESS


class DepthNode(LifecycleNode):
    """Subscribes to images and camera_info; publishes depth with the image's stamp and frame id.

    A managed node: configure loads the model and advertises the topics, activate receives images, deactivate stops but
    keeps the model, cleanup frees it. One worker thread processes the latest frame of each camera in turn; older frames
    are dropped and counted. The node is lazy: it subscribes to a camera, and computes an output, only while that output
    has a subscriber.

    Args:
        estimator: a loaded model for the first configuration; default: the model that the parameters name.
        local_images: images of a camera node in the same process; default: images come over DDS.
        node_arguments: arguments of `rclpy.node.Node`, such as ``namespace`` or ``parameter_overrides``.

    Attributes:
        streams: the cameras, by name.
        scale_services: the services `~/set_scale` and `~/reset_scale`.

    Raises:
        ValueError: a parameter is invalid. rclpy raises its own `ParameterException` for some.
    """

    def __init__(
        self, estimator: Estimator | None = None, local_images: LocalImages | None = None, **node_arguments: Any
    ) -> None:
        super().__init__("depth_node", **node_arguments)
        try:
            self._declared = DepthParameters(self, [] if local_images is None else _CAMERA_PARAMETERS)
        except BaseException:
            super().destroy_node()
            raise
        self._log_bridge = LogBridge(self.get_logger())
        self._local_images = local_images
        self._given = estimator
        self._estimator: Estimator | None = None
        self._loader = ModelLoader()
        self._is_active, self._is_enabled = False, True
        cameras = self._declared.cameras
        self._scheduler: FrameScheduler[CameraFrame] = FrameScheduler(cameras)
        self._transforms = SensorTransforms(self, self._declared.measuring.extrinsics)
        self.streams = {
            name: CameraStream(
                self,
                name,
                self._declared.streams[name],
                self._declared.image_transport,
                self._scheduler,
                local_images if name == "" else None,
                self._declared.measuring,
                self._transforms,
            )
            for name in cameras
        }
        processors = {name: stream.processor for name, stream in self.streams.items()}
        self._worker = DepthWorker(self._scheduler, processors, self.get_logger(), self.context.ok)
        self._transitions = Transitions(self)
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self._jump_handle = self.get_clock().create_jump_callback(
            JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True),
            post_callback=lambda _: self._forget_past(),
        )
        self.create_service(SetBool, "~/enable", self._on_enable)
        self.create_service(Trigger, "~/reload_model", self._on_reload_model)
        self.scale_services = ScaleServices(self, self.streams, self._declared)
        self._graph_watch = GraphWatch(self)
        self._watches = [StreamWatch(stream) for stream in self.streams.values()]
        call_periodically(self, self._graph_watch.check, *(watch.look for watch in self._watches))
        self._reports = {name: StreamReport(stream) for name, stream in self.streams.items()}
        self._diagnostics = DiagnosticsPublisher(self, self._collect_diagnostics)

    @property
    def statistics(self) -> FrameStatistics:
        """Counts and times of the first camera."""
        return next(iter(self.streams.values())).statistics

    @property
    def autostarts(self) -> bool:
        """Whether to configure and activate the node at start."""
        return self._declared.autostart

    @property
    def is_active(self) -> bool:
        """Whether the node receives images."""
        return self._is_active

    def start(self) -> None:
        """Configure and activate the node. Raises the error that prevents it."""
        for trigger in (self.trigger_configure, self.trigger_activate):
            if trigger() != SUCCESS:
                raise self._transitions.failure or RuntimeError("the node could not be started; see its log")

    def abort(self) -> None:
        """Stop loading a model, before the node is destroyed. For any thread."""
        self._loader.abort()

    def destroy_node(self) -> None:
        """Stop all work, log a summary of the frames, and destroy the node."""
        self._loader.abort()
        self._release()
        self._diagnostics.close()
        self._jump_handle.unregister()
        if self.context.ok():
            for name, stream in self.streams.items():
                if stream.statistics.snapshot().received:
                    self.get_logger().info(f"{name}: " * bool(name) + stream.statistics.summary())
        self._log_bridge.detach()
        super().destroy_node()

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and advertise its outputs. Fails, with the reason in the log, if that is not possible."""
        return self._transitions.run(self._configure, super().on_configure, state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start receiving images."""
        return self._transitions.run(self._begin, super().on_activate, state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Finish the current frame and stop receiving; keep the model."""
        return self._transitions.run(self._stop, super().on_deactivate, state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model and remove the topics."""
        return self._transitions.run(self._release, super().on_cleanup, state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Like `on_cleanup`, but final."""
        return self._transitions.run(self._release, super().on_shutdown, state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything after a failed transition, so that the node can be configured again."""
        self._release()
        return SUCCESS

    def _configure(self) -> None:
        for stream in self.streams.values():
            stream.read_overrides()
        warn_of_unknown_overrides(self, () if self._local_images is None else self._local_images.sender_overrides)
        self._take_model(self._given or self._load())
        self._given = None

    def _load(self) -> Estimator:
        return self._loader.load(self._declared.model(), len(self.streams))

    def _take_model(self, estimator: Estimator) -> None:
        """Use this model from the next frame on."""
        self.get_logger().info(f"model: {estimator.provenance}")
        self._worker.set_model(estimator)
        self._estimator = estimator
        for stream in self.streams.values():
            stream.set_model(estimator)

    def _update_inputs(self) -> None:
        for stream in self.streams.values():
            stream.set_active(self._is_active and self._is_enabled)

    def _begin(self) -> None:
        """Start the worker and the subscriptions."""
        self._worker.start()
        self._is_active = True
        self._update_inputs()
        sources = ", ".join(stream.input.source for stream in self.streams.values())
        self.get_logger().info(f"images from {sources}, while an output has a subscriber")

    def _stop(self) -> None:
        """Stop the subscriptions and wait for the current frame."""
        self._is_active = False
        self._update_inputs()
        for name in self._worker.stop():
            self.streams[name].statistics.ignore()

    def _release(self) -> None:
        self._stop()
        for stream in self.streams.values():
            stream.release()
        self._worker.release_model()
        self._estimator = None
        give_back_freed_memory()

    def _forget_past(self) -> None:
        for stream in self.streams.values():
            stream.forget_past()

    # Parameters and services

    def set_parameters_atomically(self, parameter_list: list[Parameter]) -> SetParametersResult:
        """Set parameters like rclpy, which calls this for its services too; the reason names an unknown parameter."""
        return reject_unknown(self, parameter_list) or super().set_parameters_atomically(parameter_list)

    def _on_set_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        """Check new values, and apply the live ones from the next frame on."""
        try:
            changed = self._declared.change(parameters)
        except ValueError as error:
            return refused(error)
        for name in changed:
            self.streams[name].set_parameters(self._declared.streams[name])
        return SetParametersResult(successful=True)

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Enable or disable receiving images, in any state of the node."""
        self._is_enabled = request.data
        self._update_inputs()
        response.success = True
        response.message = (
            "enabled" if request.data else "disabled: the node receives no images until it is enabled again"
        )
        return response

    def _on_reload_model(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Load the model that the parameters name now. If that fails, the current model stays in use."""
        if self._estimator is None:
            response.message = "the node has no model yet: configure it"
            return response
        try:
            estimator = self._load()
        except Exception as error:  # no error may end the executor
            self.get_logger().error(f"the model stays as it was: {error}")
            response.message = str(error)
            return response
        was_active, before = self.is_active, self._estimator
        self._stop()  # a frame must not start with one model and end with the other
        try:
            self._take_model(estimator)
            response.success, response.message = True, estimator.provenance
        except Exception as error:
            self._go_back_to(before, error)
            response.message = str(error)
        give_back_freed_memory()
        if was_active and self._estimator is not None:
            self._begin()
        return response

    def _go_back_to(self, estimator: Estimator, error: Exception) -> None:
        """Use the earlier model again after another failed. If it fails too, the node becomes unconfigured."""
        self.get_logger().error(f"the model stays as it was: {error}")
        try:
            self._take_model(estimator)
        except Exception:
            self.get_logger().error(f"the earlier model fails too, the node stops: {traceback.format_exc()}")
            self._transitions.failure = error
            if self._state_machine.current_state[1] == "active":
                self.trigger_deactivate()
            self.trigger_cleanup()

    def _collect_diagnostics(self) -> list[DiagnosticStatus]:
        name = self.get_fully_qualified_name().lstrip("/")
        state = self._state_machine.current_state[1]
        estimator, error = self._estimator, self._transitions.failure
        failure = "" if error is None or estimator is not None else f"not configured: {error}"
        batches = (
            ""
            if len(self.streams) < 2
            else f"up to {self._worker.batch}"
            if self._worker.batch > 1
            else "none: one by one"
        )
        model = model_status(name, state, self._loader.progress, estimator, failure, batches, self._warnings())
        rest = "" if self._is_enabled else "disabled by ~/enable"
        rest = rest if self.is_active else "not active"
        return [model, *(report.status(name, rest) for report in self._reports.values())]

    def _warnings(self) -> list[str]:
        """Return problems of the node's environment."""
        estimator = self._estimator
        unused = "" if estimator is None else estimator.unused_gpu
        return [*self._graph_watch.problems, *filter(None, [unused])]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the depth node; returns the exit status of the process."""
    return run_node("depth_node", DepthNode, arguments)
