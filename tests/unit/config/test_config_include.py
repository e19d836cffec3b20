"""Fragments of a config file: which are read, whose faults they are, and when they have changed."""

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scheduler.config.build import Config, ConfigError, load, read
from scheduler.state.seen_files import Seen, is_as_seen

MAIN = """\
include = ["jobs.d/*.toml"]
[defaults]
disable_after = 3
[connections.warehouse]
type = "duckdb"
"""
FILES = '[connections.files]\ntype = "file"\ndirectory = "out"\n'
JOB = """\
[jobs.{name}]
source = "warehouse"
query = "select 1"
export = {{ connection = "files" }}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "jobs.d").mkdir()
    return tmp_path


def write(folder: Path, **files: str) -> Path:
    """Write config.toml (``main``) and fragments by their names."""
    for name, text in {"main": MAIN, **files}.items():
        path = folder / "config.toml" if name == "main" else folder / "jobs.d" / f"{name}.toml"
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
    return folder / "config.toml"


def faults(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path)
    return str(caught.value).splitlines()


def test_fragments_add_connections_and_jobs_and_take_the_defaults_of_the_config_file(folder: Path) -> None:
    config = load(write(folder, b=JOB.format(name="two"), a=FILES + JOB.format(name="one")))
    assert list(config.jobs) == ["one", "two"]
    assert config.jobs["two"].disable_after == 3
    assert config.origins["jobs", "two"] == str(folder / "jobs.d" / "b.toml")
    assert config.origins["connections", "warehouse"] == str(folder / "config.toml")


def test_paths_in_a_fragment_are_relative_to_the_fragment(folder: Path) -> None:
    (folder / "jobs.d" / "one.sql").write_text("select 7", encoding="utf-8")
    (folder / "one.sql").write_text("select 8", encoding="utf-8")
    named = JOB.replace('query = "select 1"', 'query_file = "one.sql"')
    config = load(write(folder, a=FILES + named.format(name="one"), main=MAIN + named.format(name="two")))
    assert (config.jobs["one"].query, config.jobs["two"].query) == ("select 7", "select 8")
    assert getattr(config.connections["files"], "directory") == str(folder / "jobs.d" / "out")  # noqa: B009 - any connection


@pytest.mark.parametrize("name", [".hidden.toml", "note.txt", "a.toml~", "#a.toml#"])
def test_hidden_files_and_what_editors_leave_behind_are_not_read(folder: Path, name: str) -> None:
    path = write(folder, a=FILES)
    (folder / "jobs.d" / name).write_text("[jobs", encoding="utf-8")
    (folder / "jobs.d" / "directory.toml").mkdir()
    assert load(path).jobs == {}


def test_a_file_that_two_patterns_name_is_read_once_and_the_config_file_not_again(folder: Path) -> None:
    main = 'include = ["*.toml", "jobs.d/a.toml", "jobs.d/*.toml"]\n' + MAIN.partition("\n")[2]
    assert list(load(write(folder, main=main, a=FILES + JOB.format(name="one"))).jobs) == ["one"]


def test_patterns_may_be_absolute_and_reach_into_folders(folder: Path) -> None:
    (folder / "jobs.d" / "team").mkdir()
    (folder / "jobs.d" / "team" / "x.toml").write_text(FILES + JOB.format(name="deep"), encoding="utf-8")
    main = f'include = ["{folder}/jobs.d/**/*.toml"]\n' + MAIN.partition("\n")[2]
    assert list(load(write(folder, main=main)).jobs) == ["deep"]


def test_a_fault_names_the_file_that_it_stands_in_and_its_line(folder: Path) -> None:
    path = write(
        folder, main=MAIN + "[daemon]\nmax_running = 0\n", a=FILES, b="\n" + JOB.format(name="x") + "cron = 5\n"
    )
    first, second = faults(path)
    assert first == f"{path}:7: daemon.max_running: max_running = 0: use at least 1"
    assert second.startswith(f"{folder}/jobs.d/b.toml:6: jobs.x.cron: cron = 5: write text")


def test_one_name_in_two_files_is_a_fault_that_names_both(folder: Path) -> None:
    path = write(
        folder, a=FILES + JOB.format(name="one"), b=JOB.format(name="one") + '[connections.files]\ntype = "duckdb"\n'
    )
    a, b = folder / "jobs.d" / "a.toml", folder / "jobs.d" / "b.toml"
    assert faults(path) == [
        f"{b}:1: jobs.one: it stands in {a}, line 4, too: rename or remove one of the two",
        f"{b}:5: connections.files: it stands in {a}, line 1, too: rename or remove one of the two",
    ]


def test_every_file_that_is_no_toml_is_told_at_once(folder: Path) -> None:
    path = write(folder, a="[jobs.x\n", b="a = 1\nb = \n", c=FILES)
    told = faults(path)
    assert [each.partition(": ")[0] for each in told] == [f"{folder}/jobs.d/a.toml:1", f"{folder}/jobs.d/b.toml:2"]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("[daemon]", "daemon: it belongs in the config file itself: an included file holds connections and jobs"),
        ("[include]", "include: it belongs in the config file itself"),
        ("[job.x]", '"job" is an unknown key: did you mean "jobs"?'),
    ],
)
def test_a_fragment_holds_nothing_but_connections_and_jobs(folder: Path, table: str, says: str) -> None:
    (told,) = faults(write(folder, a=table + "\n"))
    assert told.startswith(f"{folder}/jobs.d/a.toml:1: ")
    assert says in told


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ('"jobs.d/*.toml"', 'include: include = "jobs.d/*.toml": write a list in [ ]'),
        ("[5]", "write text in quotes"),
        ('["~/jobs.toml"]', "~ is not expanded here"),
        ('["jobs.d/*"]', "end the name or the pattern in .toml"),
        ('["jobs.d/none.toml"]', 'include[0]: "jobs.d/none.toml": file not found'),
        ('["a\\u0000.toml"]', "a path holds no NUL character"),
    ],
)  # fmt: skip
def test_what_is_no_list_of_patterns_is_a_fault_with_its_line(folder: Path, value: str, says: str) -> None:
    (told,) = faults(write(folder, main=f"include = {value}\n"))
    assert told.startswith(f"{folder}/config.toml:1: include")
    assert says in told


def test_a_pattern_may_match_nothing(folder: Path) -> None:
    assert load(write(folder)).jobs == {}


def named_in(folder: Path, pattern: str) -> Path:
    """Return a config file that includes what ``pattern`` matches."""
    return write(folder, main=f'include = ["{pattern}"]\n' + MAIN.partition("\n")[2])


@pytest.mark.parametrize("pattern", ["gone/*.toml", "gone/**/*.toml", "gone/*/x.toml"])
def test_a_directory_that_a_pattern_names_has_to_be_there(folder: Path, pattern: str) -> None:
    """A directory that was moved away or not mounted would otherwise remove every job that lies in it."""
    path = named_in(folder, pattern)
    (told,) = faults(path)
    assert told.startswith(f'{path}:1: include[0]: "{pattern}": there is no directory {folder}/gone: make it')


@pytest.mark.parametrize(
    ("pattern", "broken"),
    [
        ("jobs.d/bad/*.toml", "jobs.d/bad"),
        ("jobs.d/*/*.toml", None),
        ("jobs.d/**/*.toml", None),
    ],
)
def test_a_directory_that_cannot_be_listed_is_a_fault(folder: Path, pattern: str, broken: str | None) -> None:
    (folder / "jobs.d" / "bad").symlink_to("bad")  # a loop: the same to every user, root too
    path = named_in(folder, pattern)
    if broken is None:
        assert load(path).jobs == {}, "what is no directory is none that a pattern looks into"
    else:
        (told,) = faults(path)
        assert told.startswith(
            f'{path}:1: include[0]: "{pattern}": {folder}/{broken} cannot be listed: Too many levels'
        )


UNPRIVILEGED = """
import ctypes, sys
from pathlib import Path
assert ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()) == 0
from scheduler.config.build import ConfigError, load
# Without its capabilities the mode of a directory counts for root too.
try:
    print(sorted(load(Path(sys.argv[1])).jobs))
except ConfigError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("pattern", "closed", "mode", "says"),
    [
        ("jobs.d/*.toml", "jobs.d", 0o000, "jobs.d cannot be listed: Permission denied"),
        ("jobs.d/*.toml", "jobs.d", 0o444, "jobs.d/a.toml: cannot be read: Permission denied"),
        ("*/a.toml", "jobs.d", 0o000, "jobs.d cannot be listed: Permission denied"),
        ("*/a.toml", "jobs.d", 0o444, "jobs.d cannot be listed: Permission denied"),
        ("**/*.toml", "jobs.d/deep", 0o000, "jobs.d/deep cannot be listed: Permission denied"),
        ("jobs.d/*.toml", "jobs.d", 0o555, "['one']"),
    ],
)
def test_a_directory_that_we_may_not_look_into_is_a_fault_and_not_an_empty_one(
    folder: Path, pattern: str, closed: str, mode: int, says: str
) -> None:
    (folder / "jobs.d" / "deep").mkdir()
    path = write(folder, main=f'include = ["{pattern}"]\n' + MAIN.partition("\n")[2], a=FILES + JOB.format(name="one"))
    (folder / closed).chmod(mode)
    told = subprocess.run(
        [sys.executable, "-c", UNPRIVILEGED, path], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    (folder / closed).chmod(0o755)
    assert says in told


def test_a_directory_that_comes_to_be_there_is_noticed(folder: Path) -> None:
    path = named_in(folder, "gone/*.toml")
    seen = read(path).seen
    assert seen.is_current()
    (folder / "gone").mkdir()
    assert not seen.is_current(), "the fault is mended, though no file has changed"
    assert load(path).jobs == {}


def test_a_fragment_that_cannot_be_read_is_a_fault(folder: Path) -> None:
    path = write(folder)
    (folder / "jobs.d" / "gone.toml").symlink_to("nowhere")
    assert faults(path) == [f"{folder}/jobs.d/gone.toml: cannot be read: No such file or directory"]


@pytest.mark.parametrize("name", ["pipe.toml", "one.sql"])
def test_what_is_no_regular_file_is_a_fault_and_not_waited_for(folder: Path, name: str) -> None:
    named = JOB.replace('query = "select 1"', 'query_file = "one.sql"')
    path = write(folder, a=FILES + named.format(name="one"))
    (folder / "jobs.d" / "one.sql").write_text("select 7", encoding="utf-8")
    (folder / "jobs.d" / name).unlink(missing_ok=True)
    os.mkfifo(folder / "jobs.d" / name)
    (told,) = faults(path)
    assert f"jobs.d/{name}" in told
    assert told.endswith("cannot be read: it is a pipe, not a regular file")


def test_a_plain_secret_is_warned_of_in_the_file_that_others_can_read(folder: Path) -> None:
    secret = '[connections.crm]\ntype = "salesforce"\nlogin_url = "https://a.my.salesforce.com"\nclient_id = "x"\n'
    path = write(folder, a=secret + 'client_secret = "hunter7pw"\n')
    assert load(path).warnings == ()
    fragment = folder / "jobs.d" / "a.toml"
    fragment.chmod(0o644)
    (warning,) = load(path).warnings
    assert warning.told("") == f"{fragment}:5: connections.crm.client_secret: {warning.message}"
    assert f"chmod 600 {fragment}" in warning.message


def test_a_warning_names_the_file_that_it_stands_in(folder: Path) -> None:
    old = '[connections.crm]\ntype = "salesforce"\nauth = "session_id"\nlogin_url = "https://a.my.salesforce.com"\n'
    (warning,) = load(write(folder, a=old + 'session_id = { env = "S" }\n')).warnings
    assert (warning.file, warning.line) == (str(folder / "jobs.d" / "a.toml"), 3)


def replaced(path: Path, text: str) -> None:
    """Do as editors do: write a new file and rename it to the old one's place."""
    new = path.with_name("4913")
    new.write_text(text, encoding="utf-8")
    new.rename(path)


CHANGES: dict[str, Callable[[Path], object]] = {
    "edited": lambda folder: (folder / "jobs.d" / "a.toml").write_text(FILES + "# more\n", encoding="utf-8"),
    "replaced by an editor": lambda folder: replaced(folder / "jobs.d" / "a.toml", FILES),
    "added": lambda folder: (folder / "jobs.d" / "b.toml").write_text("", encoding="utf-8"),
    "removed": lambda folder: (folder / "jobs.d" / "a.toml").unlink(),
    "renamed": lambda folder: (folder / "jobs.d" / "a.toml").rename(folder / "jobs.d" / "z.toml"),
    "the query edited": lambda folder: (folder / "jobs.d" / "one.sql").write_text("select 99", encoding="utf-8"),
    "the query removed": lambda folder: (folder / "jobs.d" / "one.sql").unlink(),
    "the config file": lambda folder: replaced(folder / "config.toml", MAIN),
    "the directory moved away": lambda folder: (folder / "jobs.d").rename(folder / "away"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_noticed_by_the_reading_and_by_the_mark_that_was_kept(folder: Path, change: str) -> None:
    (folder / "jobs.d" / "one.sql").write_text("select 7", encoding="utf-8")
    named = JOB.replace('query = "select 1"', 'query_file = "one.sql"')
    path = write(folder, a=FILES + named.format(name="one"))
    seen = read(path).seen
    mark = seen.mark(datetime.now(UTC) + timedelta(hours=1))
    assert seen.is_current()
    assert is_as_seen(path, mark)
    CHANGES[change](folder)
    assert not seen.is_current()
    assert not is_as_seen(path, mark)


def test_a_file_that_was_missing_counts_as_changed_once_it_is_there(folder: Path) -> None:
    path = write(folder, a=FILES + JOB.replace('query = "select 1"', 'query_file = "one.sql"').format(name="one"))
    reading = read(path)
    assert reading.seen.is_current()
    assert reading.seen.mark(datetime.now(UTC) + timedelta(hours=1)) == ""
    (folder / "jobs.d" / "one.sql").write_text("select 7", encoding="utf-8")
    assert not reading.seen.is_current()


def test_a_config_file_that_is_not_there_yet_is_noticed_too(folder: Path) -> None:
    seen = read(folder / "config.toml").seen
    assert seen.is_current()
    write(folder)
    assert not seen.is_current()


def test_what_changed_a_moment_ago_proves_nothing(folder: Path) -> None:
    seen = read(write(folder)).seen
    assert seen.mark(datetime.now(UTC)) == ""
    assert seen.mark(datetime.now(UTC) + timedelta(seconds=10)) != ""


def test_a_reading_that_was_overtaken_is_made_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(folder, a=FILES + JOB.format(name="one"))
    answers = iter([False, True])
    monkeypatch.setattr(Seen, "is_current", lambda _self: next(answers))
    assert len(read(path).documents) == 2
    assert next(answers, None) is None


def config_of(folder: Path) -> Config:
    return load(folder / "config.toml")


def test_a_relative_config_path_still_finds_its_fragments(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, a=FILES + JOB.format(name="one"))
    monkeypatch.chdir(folder)
    assert list(load(Path("config.toml")).jobs) == ["one"]
    assert os.path.isabs(config_of(folder).origins["jobs", "one"])  # noqa: PTH117 - a string
