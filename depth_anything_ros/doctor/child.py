"""The process of one check: prints the section as a line of JSON after each step.

Usage: python -m depth_anything_ros.doctor.child NAME OPTIONS, with the options as JSON.
"""

from __future__ import annotations

import json
import os
import sys

from depth_anything_ros.doctor.checks import CHECKS, Options
from depth_anything_ros.doctor.section import Section
from depth_anything_ros.system.child_process import take_output
from depth_anything_ros.system.extras import import_problem


def main() -> int:
    """Run the check of the command line. Return the exit status."""
    name, options = sys.argv[1], Options(**json.loads(sys.argv[2]))
    with take_output() as results:
        section = Section(name, CHECKS[name].title)
        try:
            for step in CHECKS[name].steps():
                step(section, options)
                results.write(json.dumps(section.to_json()) + "\n")
                results.flush()
        except ImportError as error:
            section.problem(f"the rest of this check cannot run: {import_problem(error)}")
        except Exception as error:  # from any library; the report contains it, and the other checks continue
            section.note(f"the rest of this check failed: {type(error).__name__}: {error}; please report it")
        results.write(json.dumps(section.to_json()) + "\n")
    return 0


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    os._exit(status)  # a library's thread that hangs must not delay the report
