"""What only looks is told from the state file alone while the config file stays as it was, and is always right."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from scheduler.cli.main import PARTS, application
from scheduler.cli.main import run as main_run
from scheduler.cli.state.fast_path import all_lines, known_storage_url, quickly

ORM = [
    "sqlalchemy",
    "sqlmodel",
    "pydantic",
    "alembic",
    "duckdb",
    "pyarrow",
    "requests",
    "apscheduler",
    "rich",
    "sqlglot",
]
CONFIG = """
[storage]
url = "sqlite:///state.db"
[connections.warehouse]
type = "duckdb"
path = "w.duckdb"
[connections.files]
type = "file"
directory = "out"
[jobs.a]
cron = "0 3 * * mon-fri"
timezone = "America/New_York"
delay = "10m"
source = "warehouse"
query_file = "a.sql"
export = { connection = "files" }
[jobs.b]
source = "warehouse"
query = "select 'it''s' as a where 1 = :one"
params = { one = 1 }
export = { connection = "files" }
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Give a config file, which :func:`run` does not take for too young to be trusted."""
    path = tmp_path / "config.toml"
    write(path, CONFIG)
    write(tmp_path / "a.sql", "select 1 as a")
    return path


def write(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    new.rename(path)


def run(config: Path, *arguments: str) -> tuple[str, list[str]]:
    """Run a command in a process of its own, as if the files were ten seconds older; returns stdout and imports."""
    script = (
        "import sys\nfrom datetime import timedelta\nfrom scheduler.state import seen_files\n"
        "seen_files.SETTLED = -timedelta(seconds=10)\nfrom scheduler.cli.main import run\n"
        f"try:\n    code = run({list(arguments)!r})\nexcept SystemExit as ended:\n    code = ended.code\n"
        f"print(sorted(set({ORM!r}) & set(sys.modules)), file=sys.stderr)\nsys.exit(code)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    environment["SCHEDCTL_CONFIG"] = str(config)
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode in (0, 1, 3), done.stderr
    return done.stdout, json.loads(done.stderr.splitlines()[-1].replace("'", '"'))


def test_a_second_list_is_the_same_and_imports_no_database_layer_and_no_models(config: Path) -> None:
    first, heavy = run(config, "list", "--json")
    assert ("sqlalchemy" in heavy, "sqlglot" in heavy) == (True, False)
    again, light = run(config, "list", "--json")
    assert light == []
    assert json.loads(again) == json.loads(first)
    assert [job["state"] for job in json.loads(again)["jobs"]] == ["enabled", "unscheduled"]


def test_next_of_a_job_takes_the_same_way(config: Path) -> None:
    first, _ = run(config, "next", "a", "--from", "2030-01-01", "--json")
    again, light = run(config, "next", "a", "--from", "2030-01-01", "--json")
    assert (light, json.loads(again)) == ([], json.loads(first))
    assert json.loads(again)["fires"][0]["local"].startswith("2030-01-01T03:00")
    missing, heavy = run(config, "next", "c", "--json")
    assert json.loads(missing)["error"]["kind"] == "not_found"
    assert heavy


def test_status_takes_the_same_way(config: Path) -> None:
    first, heavy = run(config, "status", "--json")
    assert "sqlalchemy" in heavy
    run(config, "list", "--json")
    properly = json.loads(first) | {"jobs": {"total": 2, "disabled": 0, "auto_disabled": 0}}
    again, light = run(config, "status", "--json")
    assert (light, json.loads(again)) == ([], properly)
    run(config, "disable", "a", "--reason", "a holiday")
    again, light = run(config, "status", "--json")
    assert (light, json.loads(again)["jobs"]["disabled"]) == ([], 1)
    write(config, CONFIG.replace("mon-fri", "mon-fry"))
    again, heavy = run(config, "status", "--json")
    assert "sqlalchemy" in heavy
    assert "mon-fry" in json.loads(again)["config"]["fault"]


def test_where_the_state_lies_is_known_without_reading_the_config_until_it_changes(config: Path) -> None:
    assert known_storage_url(config) is None
    run(config, "list", "--json")
    assert known_storage_url(config) == f"sqlite:///{config.with_name('state.db')}"
    write(config, CONFIG.replace("mon-fri", "mon-fry"))
    assert known_storage_url(config) is None


@pytest.mark.parametrize("change", ["config", "query", "gone", "older"])
def test_any_change_of_a_file_is_looked_at_properly(config: Path, change: str) -> None:
    old = config.with_name("old.toml")
    old.write_text(CONFIG.replace('timezone = "America/New_York"', ""), encoding="utf-8")
    run(config, "list", "--json")
    assert run(config, "list", "--json")[1] == []
    if change == "config":
        write(config, CONFIG.replace("0 3 * *", "0 4 * *"))
    elif change == "query":
        write(config.with_name("a.sql"), "select 2 as a")
    elif change == "older":
        old.rename(config)
    else:
        write(config, CONFIG.partition("[jobs.b]")[0])
    text, heavy = run(config, "list", "--json")
    assert "sqlalchemy" in heavy
    jobs = json.loads(text)["jobs"]
    assert jobs[0]["cron"] == ("0 4 * * mon-fri" if change == "config" else "0 3 * * mon-fri")
    assert jobs[0]["timezone"] == ("UTC" if change == "older" else "America/New_York")
    assert len(jobs) == (1 if change == "gone" else 2)


@pytest.mark.parametrize(
    "text",
    [
        "storage = { url = 'sqlite:///other.db' }",
        "storage.url = 'sqlite:///other.db'",
        "[ storage ]\nurl = 'sqlite:///other.db'",
        "[storage]\nurl = 'sqlite:///a%20b.db'",
        "[storage]\nurl = 'postgresql+psycopg://u@h/d'",
        "[storage]\nurl = 5",
        "[storage]\nurl = 'sqlite:///x.db'\n[storage]\nurl = 'sqlite:///y.db'",
        "include = ['jobs.d/*.toml']\n[storage]\nurl = 'sqlite:///state.db'",
        "[storage]\nurl =",
        "\xff",
    ],
)
def test_it_gives_way_where_it_is_unsure_where_the_state_lies(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(text.encode("latin-1"))
    assert quickly(path, all_lines) is None
    assert list(tmp_path.iterdir()) == [path]


def test_each_command_is_found_in_the_part_that_is_said_to_have_it() -> None:
    everything = get_command(application())
    assert sorted(everything.commands) == sorted(name for names in PARTS.values() for name in names)
    for part, names in PARTS.items():
        alone = get_command(application(names[0]))
        assert set(alone.commands) == set(names), part


def test_an_unknown_command_is_told_among_all_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main_run(["explian", "0 3 * * *"]) == 2
    assert "explain" in capsys.readouterr().err


@pytest.mark.parametrize("before", [["--config", "FILE"], ["--config=FILE"], []])
def test_a_config_before_the_command_is_taken_with_it(config: Path, before: list[str]) -> None:
    given = [option.replace("FILE", str(config)) for option in before]
    first = run(config, *given, "list", "--json")
    assert json.loads(first[0])["jobs"]
    assert run(config, "list", "--json", "--config", str(config)) == (first[0], [])
    assert run(config, *given, "list", "--json") == (first[0], [])


def complete(config: Path, line: str) -> tuple[list[str], list[str]]:
    """Return what the shell would offer at the end of that line, and what was imported for it."""
    os.environ["_SCHEDCTL_COMPLETE"] = "complete_bash"
    os.environ["COMP_WORDS"], os.environ["COMP_CWORD"] = line, str(len(line.split(" ")) - 1)
    try:
        offered, imported = run(config)
    finally:
        for name in ("_SCHEDCTL_COMPLETE", "COMP_WORDS", "COMP_CWORD"):
            del os.environ[name]
    return offered.split(), imported


def test_a_jobs_name_is_completed_without_the_database_layer(config: Path) -> None:
    assert complete(config, "schedctl show ") == ([], []), "there is no state yet"
    run(config, "list")
    assert complete(config, "schedctl show ") == (["a", "b"], [])
    assert complete(config, "schedctl disable b") == (["b"], [])
    assert complete(config, "schedctl expl")[0] == ["explain"]
    assert complete(config, "schedctl add x --mode ")[0] == ["append", "truncate", "update"]
    write(config, "no TOML at all [")
    assert complete(config, "schedctl show ")[1] == []


def test_a_group_that_lists_completes_its_commands_and_what_its_list_takes(config: Path) -> None:
    run(config, "list")
    for line, offered in {
        "runs ": ["list", "show", "abandon", "a", "b"],
        "runs sh": ["show"],
        "runs list ": ["a", "b"],
        "runs --out": ["--outcome"],
        "runs a --outcome su": ["succeeded"],
        "connections ": ["list", "test", "add"],
        "connections te": ["test"],
    }.items():
        found, imported = complete(config, f"schedctl {line}")
        assert (line, found, "sqlalchemy" in imported) == (line, offered, False)


@pytest.mark.parametrize(
    "line",
    [
        "connections test ",
        "login ",
        "add x --connection ",
        "edit a --source ",
        "import td f.json --connection ",
        "import td f.json --source ",
        "import crontab f --connection ",
    ],
)
def test_a_connections_name_is_completed_from_the_config_files_alone(config: Path, line: str) -> None:
    write(config, 'include = ["jobs.d/*.toml"]\n' + CONFIG)
    (config.parent / "jobs.d").mkdir()
    write(config.parent / "jobs.d" / "more.toml", "[connections]\nfar = { type = 'sqlite' }\n")
    write(config.parent / "jobs.d" / "broken.toml", "[connections.")
    offered, imported = complete(config, f"schedctl {line}")
    assert (offered, "sqlalchemy" in imported) == (["far", "files", "warehouse"], False)
    assert complete(config, f"schedctl {line}w")[0] == ["warehouse"]


@pytest.mark.parametrize(
    "text", ["no TOML at all [", "connections = 1", "include = 5", "", "include = ['\\u0000.toml']"]
)
def test_a_config_that_cannot_be_read_completes_nothing(config: Path, text: str) -> None:
    write(config, text)
    assert complete(config, "schedctl connections test ") == ([], [])
    config.unlink()
    assert complete(config, "schedctl connections test ") == ([], [])
