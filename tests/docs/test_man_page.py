"""The man page, made of the commands' own help. `python tests/docs/test_man_page.py` writes it.

Its macros are those of man(7); every line that begins with a dot is one of them.
"""

import inspect
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from scheduler.cli.main import application

PAGE = Path(__file__).parents[2] / "docs" / "schedctl.1"
COMMANDS_PAGE = PAGE.with_name("commands.md")
MACROS = {".TH", ".SH", ".SS", ".TP", ".PP", ".B", ".EX", ".EE", ".RS", ".RE"}
EVERYWHERE = {"--config", "--json", "--help"}
HEAD = """\
.\\" Written by tests/docs/test_man_page.py from the commands' own help.
.TH SCHEDCTL 1 "" "schedctl" "User Commands"
.SH NAME
schedctl \\- scheduled SQL to Salesforce
.SH SYNOPSIS
.B schedctl
[\\fB\\-\\-config\\fR \\fIFILE\\fR] \\fICOMMAND\\fR [\\fIARGUMENTS\\fR]
.SH DESCRIPTION
schedctl runs SQL queries on cron schedules, as Treasure Data does, and exports each result to Salesforce. One daemon
does the work (\\fBschedctl daemon\\fR, which systemd starts); the other commands look at its state database and change
it, and work while the daemon is down.
.PP
Data go to stdout, talk to stderr. Commands that print take \\fB\\-\\-json\\fR; those that read the config file take
\\fB\\-\\-config\\fR \\fIFILE\\fR after their name too.
"""
TAIL = """\
.SH ENVIRONMENT
.TP
.B SCHEDCTL_CONFIG
the config file, where \\-\\-config names none
.TP
.B SCHEDCTL_DEBUG
1 shows the traceback of a fault of schedctl's own
.TP
.B NO_COLOR
turns colours off
.TP
.B COLUMNS
how wide lines may be
.TP
.B STATE_DIRECTORY, XDG_STATE_HOME
where a new state is made, if the config file does not say
.SH FILES
.TP
.B ~/.config/schedctl/config.toml
the user's config file
.TP
.B /etc/schedctl/config.toml
the config file where the user has none
.TP
.B .config.toml.state
beside a config file: where its state is
.SH SEE ALSO
systemd.service(5), crontab(5)
"""


def escape(text: str) -> str:
    """Write text so that roff shows it as it is."""
    plain = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join("\\&" + line if line.startswith((".", "'")) else line for line in plain.splitlines())


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name in sorted(command.commands):
        yield from commands(command.commands[name], (*path, name))


def page() -> str:
    """Return the whole page."""
    lines = [HEAD + ".SH COMMANDS"]
    for path, command in commands(get_command(application())):
        lines.append(f".SS schedctl {escape(' '.join(path))}")
        paragraphs = inspect.cleandoc(command.help).split("\n\n")
        lines.append("\n.PP\n".join(escape(" ".join(paragraph.split())) for paragraph in paragraphs))
        for parameter in command.params:
            lines += _parameter(parameter)
        lines += [".PP", ".EX", escape(command.epilog.removeprefix("Example: ")), ".EE"]
    lines.append(".SH EXIT STATUS")
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", COMMANDS_PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    for code, words in rows:
        lines += [".TP", f".B {code}", escape(words.replace("`", ""))]
    return "\n".join(lines) + "\n" + TAIL


def _parameter(parameter: Any) -> list[str]:
    if parameter.param_type_name == "argument":
        head = parameter.metavar or parameter.name.upper()
    elif parameter.hidden or EVERYWHERE & set(parameter.opts):
        return []
    else:
        value = "" if parameter.is_flag else f" {parameter.metavar}"
        head = ", ".join([*parameter.opts, *parameter.secondary_opts]) + value
    return [".TP", f".B {escape(head)}", escape(parameter.help or "")]


def test_the_page_is_that_of_the_commands() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python tests/docs/test_man_page.py"


def test_every_line_that_begins_with_a_dot_is_a_macro() -> None:
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith((".", "'")) and not line.startswith('.\\"'):
            assert line.split()[0] in MACROS, line


def test_text_that_roff_would_take_for_its_own_is_written_so_that_it_is_shown() -> None:
    assert escape(".TH x\n'quoted\na\\b --c") == "\\&.TH x\n\\&'quoted\na\\eb \\-\\-c"


@pytest.mark.skipif(shutil.which("man") is None, reason="there is no man here")
def test_man_shows_it() -> None:
    command = ["man", "--warnings", "-P", "cat", "-l", str(PAGE)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert shown.stderr == ""
    assert "schedctl add" in shown.stdout


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
