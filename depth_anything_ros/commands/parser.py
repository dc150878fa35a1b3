"""An argument parser that suggests corrections."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from depth_anything_ros.commands import CommandError
from depth_anything_ros.system.did_you_mean import did_you_mean


class Parser(argparse.ArgumentParser):
    """Suggests the nearest option or choice for an unknown one, in the same words on every Python.

    A `CommandError` of an option's ``type`` passes through, with the option's name before its message.
    """

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """End the program at an unknown option, before missing ones are reported.

        Args:
            args: the words of the command line.
            namespace: as in argparse.
        """
        for word in self._own_options(args or ()):
            self.error(f"unknown option {word}{self._meant_by(word)}")
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Print usage and message, with the nearest valid choice for an invalid one, and end with status 2."""
        match = re.fullmatch(r"(argument .+: )?invalid choice: '(.*)' \(choose from (.+)\)", message)
        if match:
            choices = [choice.strip().strip("'") for choice in match[3].split(",")]
            meant = did_you_mean(match[2], choices) or f", choose from {', '.join(choices)}"
            message = f"{match[1] or ''}unknown {match[2]!r}{meant}"
        super().error(message)

    def _meant_by(self, option: str) -> str:
        """Return a suggestion for an unknown option: another option, or a positional argument."""
        name = option.lstrip("-")
        if any(name == action.dest for action in self._actions if not action.option_strings):
            return f": {name} is a positional argument, see {self.prog} --help"
        names = [flag.removeprefix("--") for flag in self._option_string_actions if flag.startswith("--")]
        near = difflib.get_close_matches(name, names, n=2)
        return f": did you mean {' or '.join(f'--{other}' for other in near)}?" if near else ""

    def _get_value(self, action: argparse.Action, text: str) -> Any:
        try:
            return super()._get_value(action, text)
        except CommandError as error:
            raise CommandError(f"{'/'.join(action.option_strings) or action.metavar or action.dest} {error}") from error

    def _own_options(self, words: Sequence[str]) -> list[str]:
        """Return the unknown long options in ``words``, up to the name of a sub-command."""
        unknown = []
        has_commands = any(isinstance(action, argparse._SubParsersAction) for action in self._actions)
        for word in words:
            name = word.partition("=")[0]
            action = self._option_string_actions.get(name)
            if word == "--" or (has_commands and not word.startswith("-")):
                break
            if action is not None and action.nargs == argparse.REMAINDER:
                break
            is_long = name.startswith("--") and " " not in name
            if is_long and not any(option.startswith(name) for option in self._option_string_actions):
                unknown.append(name)
        return unknown
