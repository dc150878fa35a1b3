"""A client of nodes in other processes, and namespaces that no other test uses.

A test module imports the fixture by its function's name; tests request `node`.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest
import rclpy
from rclpy.node import Node

namespaces = (f"client_{os.getpid()}_{number}" for number in itertools.count())


@pytest.fixture(name="node")
def client_node() -> Iterator[Node]:
    """A node in its own namespace; the test spins it."""
    rclpy.init()
    node = Node("client", namespace=next(namespaces))
    yield node
    node.destroy_node()
    rclpy.try_shutdown()
