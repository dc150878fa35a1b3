"""Images from a camera node to a depth node of the same process, by reference: nothing is packed, copied or sent."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
from sensor_msgs.msg import CameraInfo

Receiver = Callable[[np.ndarray, CameraInfo], None]


class LocalImages:
    """One sender, at most one receiver; whoever receives does so in the sender's thread.

    Attributes:
        sender_overrides: names of the sender's ``qos_overrides``; ROS gives them to every node of the process.
    """

    def __init__(self) -> None:
        self.sender_overrides: frozenset[str] = frozenset()
        self._lock = threading.Lock()
        self._receiver: Receiver | None = None

    @property
    def is_requested(self) -> bool:
        """Whether anybody receives."""
        return self._receiver is not None

    def receive(self, receiver: Receiver | None) -> None:
        """Has images handed to ``receiver`` from now on; None ends it, and returns when the last one is through."""
        with self._lock:
            self._receiver = receiver

    def send(self, image: np.ndarray, info: CameraInfo) -> None:
        """Hands over an image, uint8 (H, W, 3) in BGR, whose header is its camera_info's; neither may change later."""
        with self._lock:
            if self._receiver is not None:
                self._receiver(image, info)
