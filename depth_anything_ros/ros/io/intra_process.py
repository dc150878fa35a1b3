"""Images from a camera node to a depth node of the same process, by reference, without serialization or copies."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
from sensor_msgs.msg import CameraInfo

Receiver = Callable[[np.ndarray, CameraInfo], None]


class LocalImages:
    """A channel with one sender and at most one receiver. The receiver runs in the sender's thread.

    Attributes:
        sender_overrides: names of the sender's ``qos_overrides``, because ROS passes them to every node of the process.
    """

    def __init__(self) -> None:
        self.sender_overrides: frozenset[str] = frozenset()
        self._lock = threading.Lock()
        self._receiver: Receiver | None = None

    @property
    def is_requested(self) -> bool:
        """Whether there is a receiver."""
        return self._receiver is not None

    def receive(self, receiver: Receiver | None) -> None:
        """Call ``receiver`` with each image from now on. None stops it, and returns after the last call has ended."""
        with self._lock:
            self._receiver = receiver

    def send(self, image: np.ndarray, info: CameraInfo) -> None:
        """Pass an image to the receiver; neither argument may be changed later.

        Args:
            image: uint8 (H, W, 3) in BGR.
            info: its camera_info, with the header of the image.
        """
        with self._lock:
            if self._receiver is not None:
                self._receiver(image, info)
