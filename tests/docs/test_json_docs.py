"""docs/json.md and its schema against the commands. `python tests/docs/test_json_docs.py` writes the page's tables.

Wherever a test runs a command with --json, tests/support/commands/command.py checks that its answer is as promised.
"""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.commands.answers import COMMANDS, ERROR, SCHEMA, check, name_of
from support.commands.command import CONFIG, NIGHTLY, Command, QuickCommand
from support.loopback.receivers import web_hook
from typer.main import get_command

from scheduler.cli.main import application

PAGE = Path(__file__).parents[2] / "docs" / "json.md"
MARK = "<!-- The rest is written by tests/docs/test_json_docs.py from json-schema.json. -->\n"
VARIANTS = {"add --dry-run", "connections add --dry-run", "check --diff", "list --removed", ERROR}
"""Answers of the schema that are no command's only one."""


PLAIN = """\
explain '0 3 */5 * mon'
next nightly
add mine --cron '0 4 * * *' --source warehouse --query 'select 1 as a' --connection files --dry-run
add mine --cron '0 4 * * *' --source warehouse --query 'select 1 as a' --connection files
edit mine --delay 5m
disable mine
enable mine
show mine
remove mine
list
list --removed
run nightly --wait
runs
runs show 1
run nightly --at 2026-11-02T08:00:00Z
cancel 2
retry 1
rejected 1
preview nightly
add once --source warehouse --query 'select 1 as a' --connection files --changes new --changes-key a
preview once --changes
run once --wait
resync once
check
check --diff
connections
connections test warehouse
connections add more --type duckdb --dry-run
connections add more --type duckdb
notify test
forecast
audit
import crontab -
import td {schedules}
status
db check
db backup {copy}
install-units --user --dry-run
version
"""


def with_json(command: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the commands that take --json."""
    for name, inner in getattr(command, "commands", {}).items():
        yield from with_json(inner, (*path, name))
    if any("--json" in parameter.opts for parameter in command.params):
        yield " ".join(path)


def reference() -> str:
    """Return the reference part of the page."""
    parts = [_section(name, schema, level="##") for name, schema in COMMANDS.items()]
    parts.append("## What several of them have in common\n")
    parts += [_section(name, schema, level="###") for name, schema in SCHEMA["$defs"].items()]
    return "\n".join(parts)


def _section(name: str, schema: dict[str, Any], *, level: str) -> str:
    about = f"{level} `{name}`\n\n| field | type | |\n|---|---|---|"
    return "\n".join([about, *(f"| `{path}` | {kind} | {words} |" for path, kind, words in _rows(schema, ""))]) + "\n"


def _rows(schema: dict[str, Any], path: str) -> Iterator[tuple[str, str, str]]:
    for key, field in schema.get("properties", {}).items():
        where = f"{path}.{key}" if path else key
        inner, many = field, ""
        if field.get("type") == "array":
            inner, many = field["items"], "[]"
        yield where + many, _kind(field), field.get("description", "")
        if "$ref" not in inner:
            yield from _rows(inner, where + many)


def _kind(field: dict[str, Any]) -> str:
    if not {"enum", "$ref", "type"} & field.keys():
        return "any"
    if "enum" in field:
        return ", ".join("null" if value is None else f"`{value}`" for value in field["enum"])
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[{name}](#{name})"
    kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
    if "array" in kinds:
        return f"list of {_kind(field['items'])}"
    kinds = ["time" if kind == "string" and field.get("format") == "date-time" else kind for kind in kinds]
    return " or ".join(kinds)


def test_the_page_is_that_of_the_schema() -> None:
    written = PAGE.read_text(encoding="utf-8").partition(MARK)[2]
    assert written.strip() == reference().strip(), "run: python tests/docs/test_json_docs.py"


def test_every_command_that_takes_json_is_in_the_schema_and_no_other() -> None:
    assert set(with_json(get_command(application()))) == COMMANDS.keys() - VARIANTS


def test_a_field_that_is_not_promised_or_not_there_is_found() -> None:
    assert check(["version", "--json"], '{"version": "1"}') == "version"
    for wrong in ('{"version": "1", "more": 1}', "{}", '{"version": 1}'):
        with pytest.raises(AssertionError):
            check(["version", "--json"], wrong)
    with pytest.raises(AssertionError, match="does not match"):
        check(["next", "x", "--json"], _answer_of_next("yesterday"))
    assert check(["next", "x", "--json"], _answer_of_next("2026-11-24T00:00:00Z")) == "next"


def _answer_of_next(time: str) -> str:
    fire = f'{{"scheduled_time": "{time}", "run_time": "{time}", "local": "x", "note": ""}}'
    sets = '{"minute": [0], "hour": [0], "day_of_month": [], "month": [], "day_of_week": []}'
    head = '"cron": "@daily", "timezone": "UTC", "words": "w", "warnings": [], "after": [], "slots": []'
    return f'{{{head}, "fires": [{fire}], "fields": {sets}}}'


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ("runs nightly --json", "runs list"),
        ("runs show 4 --json", "runs show"),
        ("--config c.toml runs --json", "runs list"),
        ("--config=c.toml list --json", "list"),
        ("check --diff --json", "check --diff"),
        ("edit nightly --dry-run --json", "add --dry-run"),
        ("import crontab - --json", "import crontab"),
    ],
)
def test_an_answer_is_known_by_the_words_of_the_command(arguments: str, name: str) -> None:
    assert name_of(arguments.split()) == name


def test_the_answers_of_plain_commands_are_as_promised(tmp_path: Path) -> None:
    """Each command once, so that none is left to chance; what needs an org or a daemon has its own tests."""
    with web_hook() as hook:
        config = f'[notify]\nurls = ["{hook.url}"]\n' + CONFIG + NIGHTLY
        quick, whole = QuickCommand(tmp_path, config), Command(tmp_path, config)
        seen = {ERROR}
        schedules = tmp_path / "schedules.json"
        schedules.write_text('{"schedules": [{"name": "a", "result": null}]}', encoding="utf-8")
        for line in PLAIN.format(copy=tmp_path / "copy.db", schedules=schedules).splitlines():
            words = [*shlex.split(line), "--json"]
            runner = whole if words[0] in ("notify", "check") else quick  # apprise warns of itself: here an error
            answer = runner(*words, code=None, stdin="0 3 * * * /bin/backup\n")
            name = check(words, answer.out)
            assert name != ERROR, answer
            seen.add(name)
    assert COMMANDS.keys() - seen == {"reload", "login", "runs abandon"}


if __name__ == "__main__":
    head = PAGE.read_text(encoding="utf-8").partition(MARK)[0]
    PAGE.write_text(f"{head}{MARK}\n{reference().strip()}\n", encoding="utf-8")
