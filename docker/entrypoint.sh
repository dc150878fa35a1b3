#!/bin/bash
# Sources ROS 2 and this package, then runs the command.
set -e
prefix=/opt/depth_anything_ros
# shellcheck disable=SC1090,SC1091
source "/opt/ros/$ROS_DISTRO/setup.bash"
export AMENT_PREFIX_PATH="$prefix${AMENT_PREFIX_PATH:+:$AMENT_PREFIX_PATH}"
export PATH="$prefix/bin:$PATH"
exec "$@"
