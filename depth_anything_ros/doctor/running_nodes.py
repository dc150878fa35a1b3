"""Check the running depth nodes: what their diagnostics report."""

from __future__ import annotations

from depth_anything_ros.doctor.checks import Options
from depth_anything_ros.doctor.section import Section
from depth_anything_ros.system.extras import is_installed
from depth_anything_ros.system.package_share import use_fast_dds_profile

LISTENING = 5.0
"""Seconds. Fast DDS repeats its announcements every 3 s (first report after 3.4 s); a node reports once per second."""
WARN, ERROR = 1, 2
"""Levels of diagnostic_msgs/DiagnosticStatus."""


def reports(section: Section, options: Options) -> None:
    """Report the latest diagnostics of each depth node in this domain."""
    section.facts["reports"] = []
    if not is_installed("rclpy"):
        section.add_line("no ROS 2, so no node runs; see the section ROS 2")
        return
    use_fast_dds_profile()  # as the nodes do
    from depth_anything_ros.ros.process.node_reports import listen

    found = listen(LISTENING)
    section.facts["reports"] = [{"name": name, **values} for name, values in sorted(found.items())]
    if not found:
        section.add_line("no depth node runs in this ROS_DOMAIN_ID, or it cannot be reached from this shell")
    for name, report in sorted(found.items()):
        text = f"{name}: {report['message']}"
        if report["level"] >= ERROR:
            section.problem(text)
        elif report["level"] == WARN:
            section.note(text)
        else:
            section.add_line(text)


STEPS = (reports,)
