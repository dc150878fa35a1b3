"""`depth_anything_ros completion`: complete commands, options, choices and files in bash, zsh and tcsh."""

from __future__ import annotations

import argparse

from depth_anything_ros.system.extras import require

SHELLS = ("bash", "zsh", "tcsh")
EPILOG = """\
bash: depth_anything_ros completion bash > ~/.local/share/bash-completion/completions/depth_anything_ros
zsh:  depth_anything_ros completion zsh > a folder of your $fpath, under the name _depth_anything_ros
Open a new shell afterwards, and again after an update of the package."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("shell", choices=SHELLS, help="the shell")


def run(arguments: argparse.Namespace) -> int:
    """Print the script. Return the exit status."""
    require("shtab")
    import shtab

    from depth_anything_ros.commands.registry import COMMANDS, build_parser

    print(shtab.complete(build_parser(*COMMANDS), shell=arguments.shell))
    return 0
