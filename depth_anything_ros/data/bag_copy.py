"""Copies of a bag's messages for another bag: bytes of ROS 2 unchanged, messages of ROS 1 in the types of ROS 2."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from depth_anything_ros.data.bag_output import BagOutput

RENAMED = {"tf/msg/tfMessage": "tf2_msgs/msg/TFMessage"}
"""Types of ROS 1 that have another name in ROS 2."""
_STATIC = "tf_static"


class MessageCopier:
    """Copies messages from an open bag to another.

    Args:
        reader: of the bag, from `data.bags.open_bag`.
        output: the other bag; its topics are added.
        left_out: topics that are not copied.

    Attributes:
        uncopied: topics whose messages cannot be copied, with the reason.
    """

    def __init__(self, reader: Any, output: BagOutput, left_out: set[str]) -> None:
        self.uncopied: dict[str, str] = {}
        self._output = output
        self._converters: dict[tuple[int, int], Callable[[bytes], bytes | memoryview]] = {}
        self._migrated: dict[str, object] = {}
        for one in reader.connections:
            if one.topic in left_out:
                continue
            try:
                converter = self._added(reader, one)
            except Exception as error:  # rosbags raises errors of any kind
                self.uncopied[one.topic] = f"its type {one.msgtype} is unknown or damaged ({error})"
                continue
            self._converters[one.id, id(one.owner)] = converter

    def copy(self, connection: Any, time: int, content: bytes) -> None:
        """Copy one message; messages of topics that are left out are ignored.

        Args:
            connection: of the message.
            time: nanoseconds, when it was received.
            content: the serialized message.

        Raises:
            OSError: it cannot be written.
            Exception: the message is damaged and cannot be converted; rosbags raises errors of any kind.
        """
        converter = self._converters.get((connection.id, id(connection.owner)))
        if converter is not None:
            self._output.write(connection.topic, time, converter(content))

    def _added(self, reader: Any, one: Any) -> Callable[[bytes], bytes | memoryview]:
        """Add a topic to the output, and return what converts its messages."""
        from rosbags.convert.converter import LATCH, is_same_wireformat, migrate_bytes

        if reader.is2:
            is_static = one.topic.rpartition("/")[2] == _STATIC
            qos = one.ext.offered_qos_profiles or (LATCH if is_static else ())
            self._output.add_topic(one.topic, one.msgtype, reader.typestore, qos)
            return bytes
        kind, qos = RENAMED.get(one.msgtype, one.msgtype), LATCH if one.ext.latching else ()
        typestore = _ros2_types(reader.typestore, one.msgtype, kind)
        self._output.add_topic(one.topic, kind, typestore, qos)
        if is_same_wireformat(reader.typestore, typestore, one.msgtype, kind):
            return functools.partial(typestore.ros1_to_cdr, typename=kind)
        stores = reader.typestore, typestore, one.msgtype, kind, self._migrated
        return lambda content: migrate_bytes(*stores, content, src_is2=False, dst_is2=True)


def _ros2_types(source: Any, kind: str, renamed: str) -> Any:
    """Return a typestore with a type as ROS 2 defines it; a type of the bag's own has the definition of the bag."""
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    typestore = get_typestore(Stores.ROS2_HUMBLE)
    if renamed not in typestore.fielddefs:
        types = get_types_from_msg(source.generate_msgdef(kind, ros_version=2)[0], renamed)
        typestore.register({name: fields for name, fields in types.items() if name not in typestore.fielddefs})
    return typestore
