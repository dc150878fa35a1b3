"""The depth node: images in; depth images, camera_info, colored cloud and picture out, for one camera or many."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, ParamSpec, TypeVar

from diagnostic_msgs.msg import DiagnosticStatus
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool, Trigger

from depth_anything_ros.ros.camera_node.parameters import CameraParameters
from depth_anything_ros.ros.depth_node.camera_stream import CameraStream, Task
from depth_anything_ros.ros.depth_node.diagnostics import DiagnosticsPublisher, StreamReport, model_status
from depth_anything_ros.ros.depth_node.frame_scheduler import FrameScheduler
from depth_anything_ros.ros.depth_node.frame_statistics import FrameStatistics
from depth_anything_ros.ros.depth_node.model_loader import LoadingAbortedError, ModelLoader
from depth_anything_ros.ros.depth_node.parameters import DepthParameters, refused
from depth_anything_ros.ros.depth_node.stream_watch import StreamWatch
from depth_anything_ros.ros.io.image_input import CameraFrame
from depth_anything_ros.ros.io.intra_process import LocalImages
from depth_anything_ros.ros.io.topic_qos import warn_of_unknown_overrides
from depth_anything_ros.ros.process.graph_watch import GraphWatch, look_periodically
from depth_anything_ros.ros.process.log_bridge import LogBridge
from depth_anything_ros.ros.process.runner import run_node
from depth_anything_ros.ros.process.unknown_parameters import refusal_of_unknown
from depth_anything_ros.runtime.backends import MAX_BATCH
from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.runtime.estimator import Estimator
from depth_anything_ros.system.malloc import give_back_freed_memory

MAX_FAILED_BATCHES = 10
"""In a row, after which cameras' frames are run one by one until a model is loaded anew."""
_CAMERA_PARAMETERS = [field.name for field in fields(CameraParameters)]
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class DepthNode(LifecycleNode):
    """Subscribes images and camera_info; publishes depth under the image's own stamp and frame.

    A managed node: configure loads the model and announces topics, activate takes images, deactivate stops and keeps
    the model, cleanup frees it. One worker thread takes the latest frame of each camera in turn; what came in between
    is dropped and counted. Nothing is computed, and nothing subscribed to upstream, that nobody listens to.

    Args:
        estimator: a model that is ready, taken at the first configuration; default: the one that the parameters name.
        local_images: where a camera node of the same process hands its images over; default: they come by DDS.
        node_arguments: as for `rclpy.node.Node`, such as ``namespace`` or ``parameter_overrides``.

    Attributes:
        streams: the cameras, by name.

    Raises:
        ValueError: a parameter is not what it may be; rclpy has its own `ParameterException` for some.
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
        self._failure: Exception | None = None
        self._loader = ModelLoader()
        self._worker: threading.Thread | None = None
        self._is_enabled = True
        self._batch = 1
        cameras = self._declared.cameras
        self._scheduler: FrameScheduler[CameraFrame] = FrameScheduler(cameras)
        self.streams = {
            name: CameraStream(
                self,
                name,
                self._declared.streams[name],
                self._declared.image_transport,
                self._scheduler,
                local_images if name == "" else None,
            )
            for name in cameras
        }
        self._guard_transitions()
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self._jump_handle = self.get_clock().create_jump_callback(
            JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True),
            post_callback=lambda _: self._forget_stamps(),
        )
        self.create_service(SetBool, "~/enable", self._on_enable)
        self.create_service(Trigger, "~/reload_model", self._on_reload_model)
        self.create_service(Trigger, "~/reset_scale", self._on_reset_scale)
        self._graph_watch = GraphWatch(self)
        self._watches = [StreamWatch(stream) for stream in self.streams.values()]
        look_periodically(self, self._graph_watch.look, *(watch.look for watch in self._watches))
        self._reports = {name: StreamReport(stream) for name, stream in self.streams.items()}
        self._diagnostics = DiagnosticsPublisher(self, self._collect_diagnostics)

    @property
    def statistics(self) -> FrameStatistics:
        """Those of the first camera."""
        return next(iter(self.streams.values())).statistics

    @property
    def autostarts(self) -> bool:
        """Whether it is to be started without being asked."""
        return self._declared.autostart

    @property
    def is_active(self) -> bool:
        """Whether images are taken."""
        return self._worker is not None

    def start(self) -> None:
        """Configures and activates the node. Raises what kept it from that."""
        for trigger in (self.trigger_configure, self.trigger_activate):
            if trigger() != SUCCESS:
                raise self._failure or RuntimeError("the node could not be started; see its log")

    def abort(self) -> None:
        """Gives up loading a model, from any thread; the node is about to be destroyed."""
        self._loader.abort()

    def destroy_node(self) -> None:
        """Ends all work, says what became of the frames, then destroys the node."""
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
        """Loads the model and announces what it gives. Fails, with the reason in the log, where it cannot."""
        return self._attempt_transition(self._configure, super().on_configure, state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begins to take images."""
        return self._attempt_transition(self._begin, super().on_activate, state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Ends the frame at work and takes no more; the model stays."""
        return self._attempt_transition(self._stop, super().on_deactivate, state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Frees the model and takes the topics back."""
        return self._attempt_transition(self._release, super().on_cleanup, state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """As `on_cleanup`, for good."""
        return self._attempt_transition(self._release, super().on_shutdown, state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After a transition that raised: everything is freed, and the node can be configured again."""
        self._release()
        return SUCCESS

    def _attempt_transition(
        self,
        action: Callable[[], None],
        managed_entities: Callable[[LifecycleState], TransitionCallbackReturn],
        state: LifecycleState,
    ) -> TransitionCallbackReturn:
        """Does what a transition takes. What a user can mend fails it; anything else is an error, and logged as one.

        rclpy itself would swallow the exception.
        """
        self._failure = None
        self._has_begun_transition = True
        try:
            action()
            return managed_entities(state)
        except (ModelError, ValueError, OSError) as error:
            self._failure = error
            if isinstance(error, LoadingAbortedError):  # asked for
                self.get_logger().info(f"{state.label} as before: {error}")
            else:
                self.get_logger().error(f"{state.label} as before: {error}")
            return FAILURE
        except Exception as error:
            self._failure = error
            self.get_logger().error(f"transition from {state.label} failed: {traceback.format_exc()}")
            return TransitionCallbackReturn.ERROR

    def _guard_transitions(self) -> None:
        """Has a transition that is not possible refused, and said in the log.

        rclpy up to Jazzy would raise in the executor and end the process; it is silent about an unknown label.
        """
        service = self._service_change_state
        change = service.callback

        def guarded(request: Any, response: Any) -> Any:
            self._has_begun_transition = False
            state = self._state_machine.current_state[1]
            requested = request.transition.label or request.transition.id
            try:
                change(request, response)
            except Exception as error:  # of the C state machine, of no public class
                self.get_logger().error(f"transition refused: {requested} in state {state}: {error}")
                response.success = False
            else:
                if not response.success and not self._has_begun_transition:
                    self.get_logger().error(f"transition refused: {requested} is not possible in state {state}")
            return response

        service.callback = guarded

    def _configure(self) -> None:
        for stream in self.streams.values():
            stream.read_overrides()
        warn_of_unknown_overrides(self, () if self._local_images is None else self._local_images.sender_overrides)
        self._take_model(self._given or self._load())
        self._given = None

    def _load(self) -> Estimator:
        return self._loader.load(self._declared.model(), len(self.streams))

    def _take_model(self, estimator: Estimator) -> None:
        """Has this model work from the next frame on."""
        self.get_logger().info(f"model: {estimator.provenance}")
        self._failed_batches, self._has_named_batch = 0, False
        self._batch = MAX_BATCH if len(self.streams) > 1 and estimator.batches else 1
        self._estimator = estimator
        for stream in self.streams.values():
            stream.set_model(estimator)

    def _let_images_in(self) -> None:
        for stream in self.streams.values():
            stream.set_active(self.is_active and self._is_enabled)

    def _begin(self) -> None:
        """Starts the worker and lets images in."""
        self._scheduler.open()
        self._worker = threading.Thread(target=self._work, name="depth", daemon=True)
        self._worker.start()
        self._let_images_in()
        sources = ", ".join(stream.input.source for stream in self.streams.values())
        self.get_logger().info(f"images from {sources}, while somebody listens")

    def _stop(self) -> None:
        """Keeps images out and waits for the frame at work."""
        worker, self._worker = self._worker, None
        self._let_images_in()
        for name in self._scheduler.close():
            self.streams[name].statistics.ignore()
        if worker is not None:
            worker.join()

    def _release(self) -> None:
        self._stop()
        for stream in self.streams.values():
            stream.release()
        self._estimator = None
        give_back_freed_memory()

    def _forget_stamps(self) -> None:
        for stream in self.streams.values():
            stream.input.stamps.reset()

    # Parameters and services

    def set_parameters_atomically(self, parameter_list: list[Parameter]) -> SetParametersResult:
        """As rclpy's, which the parameter services call too; a name that is unknown is named in the reason."""
        return refusal_of_unknown(self, parameter_list) or super().set_parameters_atomically(parameter_list)

    def _on_set_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        """Checks parameters that are being set, and has the live ones act from the next frame on."""
        try:
            changed = self._declared.change(parameters)
        except ValueError as error:
            return refused(error)
        for name in changed:
            self.streams[name].set_parameters(self._declared.streams[name])
        return SetParametersResult(successful=True)

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Lets images in again, or keeps them out, in whatever state the node is."""
        self._is_enabled = request.data
        self._let_images_in()
        response.success = True
        response.message = "enabled" if request.data else "disabled: no image is taken until it is enabled again"
        return response

    def _on_reload_model(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Loads the model that the parameters name now; the one in use goes on working if that fails."""
        if self._estimator is None:
            response.message = "the node has no model yet: configure it"
            return response
        try:
            estimator = self._load()
        except Exception as error:  # whatever it is, it must not end the executor
            self.get_logger().error(f"the model stays as it was: {error}")
            response.message = str(error)
            return response
        was_active, before = self.is_active, self._estimator
        self._stop()  # no frame may begin with one model and end with the other
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
        """Takes a model again after another could not be taken; without any, the node ends up unconfigured."""
        self.get_logger().error(f"the model stays as it was: {error}")
        try:
            self._take_model(estimator)
        except Exception:
            self.get_logger().error(f"nor can that be taken again, the node ends its work: {traceback.format_exc()}")
            self._failure = error
            if self._state_machine.current_state[1] == "active":
                self.trigger_deactivate()
            self.trigger_cleanup()

    def _on_reset_scale(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Goes back to the scale that was given at start, or else the nominal one."""
        # At once: no frame may have one half of a scale from before and the other of now.
        response.success = self.set_parameters_atomically(self._declared.scales_at_start()).successful
        scales = [scale.text for stream in self.streams.values() if (scale := stream.scale) is not None]
        response.message = "; ".join(scales) or "back to the scale given at start"
        return response

    def _collect_diagnostics(self) -> list[DiagnosticStatus]:
        name = self.get_fully_qualified_name().lstrip("/")
        state = self._state_machine.current_state[1]
        estimator, error = self._estimator, self._failure
        failure = "" if error is None or estimator is not None else f"not configured: {error}"
        batches = "" if len(self.streams) < 2 else f"up to {self._batch}" if self._batch > 1 else "none: one by one"
        model = model_status(name, state, self._loader.progress, estimator, failure, batches, self._warnings())
        rest = "" if self._is_enabled else "disabled by ~/enable"
        rest = rest if self.is_active else "not active"
        return [model, *(report.status(name, rest) for report in self._reports.values())]

    def _warnings(self) -> list[str]:
        """What is amiss around the node."""
        estimator = self._estimator
        unused = "" if estimator is None else estimator.unused_gpu
        return [*self._graph_watch.troubles, *filter(None, [unused])]

    # The worker's thread

    def _work(self) -> None:
        """Processes frames until the node is deactivated; whatever one does wrong, the next has its chance."""
        while turns := self._scheduler.take(self._batch):
            tasks = []
            for name, frame in turns:
                stream = self.streams[name]
                task = self._attempt(stream, stream.prepare, frame)
                if task is not None:
                    tasks.append((stream, task))
            if len(tasks) > 1 and all(task.outputs.confidence is None for _, task in tasks):
                self._run_together(tasks)
            else:
                for stream, task in tasks:
                    self._attempt(stream, self._run, stream, task)

    def _attempt(
        self,
        stream: CameraStream,
        action: Callable[Arguments, Result],
        *arguments: Arguments.args,
        **keywords: Arguments.kwargs,
    ) -> Result | None:
        """Does something to a frame; one that fails is lost alone."""
        try:
            return action(*arguments, **keywords)
        except ModelError as error:
            stream.lose(error, "model failed")
        except Exception as error:
            if self.context.ok():  # else shut down from outside, in the middle of a frame
                stream.lose(error, "error")
        return None

    def _run(self, stream: CameraStream, task: Task) -> None:
        estimator = self._estimator
        assert estimator is not None  # the worker rests while there is no model
        started = time.perf_counter()
        estimator.estimate(task.rgb, task.size, task.values, task.outputs.confidence)
        stream.finish(task, estimator.input_size_for(*task.rgb.shape[:2]), time.perf_counter() - started)

    def _run_together(self, tasks: list[tuple[CameraStream, Task]]) -> None:
        """Runs frames of several cameras as a batch; if that fails, one by one, so that only the bad one is lost."""
        estimator = self._estimator
        assert estimator is not None  # as in `_run`
        started = time.perf_counter()
        try:
            images, sizes, arrays = zip(*((task.rgb, task.size, task.values) for _, task in tasks), strict=True)
            estimator.estimate_batch(images, sizes, arrays)
        except Exception as error:
            self._give_up_batch(error)
            for stream, task in tasks:
                self._attempt(stream, self._run, stream, task)
            return
        seconds = time.perf_counter() - started
        self._failed_batches = 0
        for stream, task in tasks:
            network_size = estimator.input_size_for(*task.rgb.shape[:2])
            self._attempt(stream, stream.finish, task, network_size, seconds)

    def _give_up_batch(self, error: Exception) -> None:
        """Says once of a model that a batch has failed, and has no more of them if many do in a row."""
        if not self._has_named_batch:
            self._has_named_batch = True
            self.get_logger().warning(f"a batch failed, its frames are run one by one: {error}")
        self._failed_batches += 1
        if self._failed_batches == MAX_FAILED_BATCHES:
            self._batch = 1
            self.get_logger().error(f"{self._failed_batches} batches in a row failed: from now on there are none")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the depth node; returns the process's exit status."""
    return run_node("depth_node", DepthNode, arguments)
