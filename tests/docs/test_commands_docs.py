"""docs/commands.md against the commands themselves. `python tests/docs/test_commands_docs.py` writes its reference."""

import inspect
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.commands.command import QuickCommand
from typer.main import get_command

from scheduler.cli.errors import EXIT_CODES
from scheduler.cli.main import application

DOCS = Path(__file__).parents[2] / "docs" / "commands.md"
MARK = "<!-- The rest is written by tests/docs/test_commands_docs.py from the commands' own help. -->\n"
EVERYWHERE = {"--config", "--json", "--help"}
PIPE = "\\|"
ORDER = (
    *("explain", "next", "add", "edit", "remove", "show", "list", "disable", "enable"),
    *(
        "run",
        "runs",
        "cancel",
        "retry",
        "rejected",
        "preview",
        "resync",
        "check",
        "connections",
        "login",
        "notify",
        "forecast",
        "audit",
        "import",
    ),
    *("status", "reload", "daemon", "install-units", "db", "emulator", "demo", "version"),
)


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command with its words, in the order of the docs."""
    if not hasattr(command, "commands"):
        yield path, command
        return
    names = sorted(command.commands, key=lambda name: (ORDER.index(name) if not path else 0, name))
    for name in names:
        yield from commands(command.commands[name], (*path, name))


def reference() -> str:
    """Return the reference part of the page."""
    return "\n".join("\n".join(section(path, command)) for path, command in commands(get_command(application())))


def section(path: tuple[str, ...], command: Any) -> Iterator[str]:
    yield f"### `schedctl {' '.join(path)}`\n"
    yield " ".join(inspect.cleandoc(command.help).split()) + "\n"
    rows = [row for parameter in command.params if (row := table_row(parameter))]
    if rows:
        yield "| | |\n|---|---|"
        yield from rows
        yield ""
    takes = [name for name in ("--json", "--config") if any(name in parameter.opts for parameter in command.params)]
    if takes:
        yield f"Also takes {' and '.join(f'`{name}`' for name in takes)}.\n"
    yield f"```sh\n{command.epilog.removeprefix('Example: ')}\n```\n"


def table_row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        names = [f"`{parameter.metavar or parameter.name.upper()}`"]
    elif parameter.hidden or EVERYWHERE & set(parameter.opts):
        return ""
    else:
        value = "" if parameter.is_flag else f" {parameter.metavar}"
        options = [*parameter.opts, *parameter.secondary_opts]
        names = [f"`{option}{value if option.startswith('--') else ''}`" for option in options]
    cells = (", ".join(names), parameter.help)
    return f"| {' | '.join(cell.replace('|', PIPE) for cell in cells)} |"


def test_the_reference_is_that_of_the_commands() -> None:
    written = DOCS.read_text(encoding="utf-8").partition(MARK)[2]
    assert written.strip() == reference().strip(), f"run: python {Path(__file__).relative_to(DOCS.parents[1])}"


def test_every_exit_code_is_told() -> None:
    rows = re.findall(r"^\| (\d+) \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert {int(row) for row in rows} == {0, 130, *EXIT_CODES.values()}


EXAMPLES = re.findall(r"<!-- keys of: ([^\n]*) -->\n```json\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)


def shape(value: Any) -> Any:
    """Return the keys of a JSON value, of what is in it, and of the first item of a list."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    return [shape(value[0])] if isinstance(value, list) and value and isinstance(value[0], dict) else None


@pytest.mark.parametrize(("command", "example"), EXAMPLES, ids=[command for command, _ in EXAMPLES])
def test_each_json_example_has_the_keys_that_its_command_gives(command: str, example: str, tmp_path: Path) -> None:
    quick = QuickCommand(tmp_path)
    quick("run", "nightly")
    answer = quick(*shlex.split(command), code=None)
    given, shown = shape(answer.json), shape(json.loads(example))
    for optional in ("last_run", "failure"):
        drop(given, optional)
        drop(shown, optional)
    assert given == shown


def drop(value: Any, key: str) -> None:
    """Forget what is null in one and told in the other."""
    for inner in value.values() if isinstance(value, dict) else value or ():
        drop(inner, key)
    if isinstance(value, dict) and key in value:
        value[key] = None


if __name__ == "__main__":
    head = DOCS.read_text(encoding="utf-8").partition(MARK)[0]
    DOCS.write_text(f"{head}{MARK}\n{reference().strip()}\n", encoding="utf-8")
