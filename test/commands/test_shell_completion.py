"""The completion script in a real bash."""

from __future__ import annotations

import shutil
import subprocess

import pytest

pytest.importorskip("shtab", reason="completion needs the extra `completion`")

from depth_anything_ros.cli import main

PROBE = """
source {script}
complete_words() {{
  COMP_WORDS=("$@"); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMP_LINE="$*"; COMP_POINT=${{#COMP_LINE}}
  COMPREPLY=(); "$(complete -p depth_anything_ros | sed 's/.*-F \\([^ ]*\\).*/\\1/')" 2>/dev/null
  printf '%s\\n' "${{COMPREPLY[@]}}"
}}
complete_words {words}
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize(
    ("words", "expected", "unexpected"),
    [
        ("depth_anything_ros pre", {"predict"}, {"bag"}),
        ("depth_anything_ros predict --sa", {"--save"}, {"--model"}),
        ("depth_anything_ros evaluate --rob", {"--robot"}, {"--save"}),
    ],
)
def test_bash_completes_commands_and_options(tmp_path, capsys, words, expected, unexpected):
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "script"
    script.write_text(capsys.readouterr().out)
    probe = PROBE.format(script=script, words=words)
    found = set(subprocess.run(["bash", "-c", probe], capture_output=True, text=True, check=True).stdout.split())
    assert expected <= found
    assert not unexpected & found


@pytest.mark.parametrize("shell", ["zsh", "tcsh"])
def test_other_shells_get_every_command(capsys, shell):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(name in script for name in ("predict", "evaluate", "calibrate"))
