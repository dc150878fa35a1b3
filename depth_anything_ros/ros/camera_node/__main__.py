"""`python -m depth_anything_ros.ros.camera_node` starts the node."""

import sys

from depth_anything_ros.ros.camera_node.node import main

sys.exit(main())
