"""`python -m depth_anything_ros.ros.view_node` starts the node."""

import sys

from depth_anything_ros.ros.view_node.node import main

sys.exit(main())
