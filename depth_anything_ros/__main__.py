"""`python -m depth_anything_ros` does what the command of that name does."""

import sys

from depth_anything_ros.cli import main

if __name__ == "__main__":
    sys.exit(main())
