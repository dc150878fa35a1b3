"""`python -m depth_anything_ros.ros.depth_node` starts the node."""

import sys

from depth_anything_ros.ros.depth_node.node import main

sys.exit(main())
