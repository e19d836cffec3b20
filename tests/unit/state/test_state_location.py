"""Where the state of a config file is: the same for every user and environment, and never a second one unnoticed."""

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from support.commands.other_user import BECOME_NOBODY, NOBODY, held_by_another_process, needs_root

from scheduler.config.build import build, read
from scheduler.config.open_state import rebuilt
from scheduler.errors.operation_error import OperationError
from scheduler.state import config_lock, location
from scheduler.state.config_lock import ConfigLock, Holder, hold_config, holder_of
from scheduler.state.location import (
    CONFIG_FILE,
    DAEMON_CONFIG,
    differs_from_daemon,
    exposed,
    locate,
    marked_directory,
    marker_beside,
    other_owner,
    remember,
    remember_url,
    unreadable,
    way_in,
)
from storage import key_values
from storage.database import open_database


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "etc" / "config.toml"
    path.parent.mkdir()
    path.write_text("", encoding="utf-8")
    return path


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a user's shell."""
    return {"HOME": str(tmp_path / "home")}


@pytest.fixture
def everyones() -> Iterator[Path]:
    """Return a directory that other users can reach, unlike pytest's."""
    with tempfile.TemporaryDirectory(prefix="schedctl-test-") as name:
        directory = Path(name).resolve()
        directory.chmod(0o755)
        yield directory


def usual(home: dict[str, str]) -> Path:
    return Path(home["HOME"], ".local/state/schedctl")


def make_state(directory: Path, **kept: str) -> Path:
    """Make a state in a directory, with settings."""
    file = directory / "state.db"
    database = open_database(f"sqlite:///{file}")
    with database.write() as session:
        for key, value in kept.items():
            key_values.put(session, key, value)
    database.close()
    return file


@contextmanager
def held(config: Path, state: str) -> Iterator[ConfigLock]:
    lock = hold_config(config, state)
    assert isinstance(lock, ConfigLock)
    try:
        yield lock
    finally:
        lock.close()


def test_what_a_service_wrote_down_a_shell_finds_without_its_variables(
    config: Path, home: dict[str, str], tmp_path: Path
) -> None:
    service = {"HOME": "/", "STATE_DIRECTORY": str(tmp_path / "var")}
    first = locate(config, service)
    assert (first.directory, first.found) == (tmp_path / "var", "new")
    make_state(first.directory)
    assert remember(config, first.directory) == ""
    assert stat.S_IMODE(marker_beside(config).stat().st_mode) == 0o644
    found = locate(config, home)
    assert (found.directory, found.found, found.problem) == (tmp_path / "var", "marker", "")
    assert locate(config, {"HOME": "/nowhere", "STATE_DIRECTORY": "/var/lib/etl"}).directory == tmp_path / "var"


def test_a_state_that_is_gone_is_not_begun_anew(config: Path, home: dict[str, str], tmp_path: Path) -> None:
    file = make_state(tmp_path / "var")
    remember(config, file.parent)
    file.unlink()
    problem = locate(config, home).problem
    assert f"was in {tmp_path}/var" in problem
    assert f"remove {marker_beside(config)}" in problem


@pytest.mark.parametrize("url", ["sqlite:///states/x.db", "postgresql://me@db.example/schedctl"])
def test_a_config_file_that_lost_its_url_does_not_begin_another_state(
    config: Path, home: dict[str, str], tmp_path: Path, url: str
) -> None:
    make_state(usual(home))
    remember_url(config, url)
    found = locate(config, home)
    assert f'write url = "{url}" there again' in found.problem
    assert ("(with its password)" in found.problem) == url.startswith("postgresql")
    assert f"remove {marker_beside(config)}" in found.problem
    assert locate(config, {"HOME": "/", "STATE_DIRECTORY": str(tmp_path / "var")}).problem == found.problem
    assert marked_directory(config) is None
    copy = config.with_name("copy.toml")
    copy.write_text("", encoding="utf-8")
    assert locate(copy, home).problem == "", "another config file"
    marker_beside(config).unlink()
    assert (locate(config, home).directory, locate(config, home).problem) == (usual(home), "")


def test_a_url_that_replaces_the_usual_state_is_remembered_instead(config: Path, home: dict[str, str]) -> None:
    make_state(usual(home))
    remember(config, usual(home))
    remember_url(config, "sqlite:///x.db")
    assert "sqlite:///x.db" in locate(config, home).problem


def test_a_state_of_another_host_is_said_to_be_there(config: Path, home: dict[str, str]) -> None:
    said = {"state": "/var/lib/x", "config": str(config), "host": "elsewhere.example"}
    marker_beside(config).write_text(json.dumps(said), encoding="utf-8")
    assert "on host elsewhere.example" in locate(config, home).problem


def test_a_link_and_a_relative_path_lead_to_the_state_of_the_file(
    config: Path, home: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "links" / "schedctl.toml"
    link.parent.mkdir()
    link.symlink_to(config)
    make_state(tmp_path / "var")
    remember(link, tmp_path / "var")
    monkeypatch.chdir(config.parent)
    for path in (link, config, Path("config.toml"), Path("../etc/config.toml")):
        assert locate(path, home).directory == tmp_path / "var", path


def test_a_link_that_is_switched_to_another_file_keeps_its_state(home: dict[str, str], tmp_path: Path) -> None:
    """As a ConfigMap, a release directory or a package manager does it."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.toml").touch()
    link = tmp_path / "config.toml"
    link.symlink_to(tmp_path / "one" / "config.toml")
    make_state(usual(home), **{CONFIG_FILE: str(link)})
    remember(link, usual(home))
    link.unlink()
    link.symlink_to(tmp_path / "two" / "config.toml")
    assert locate(link, {"HOME": "/nowhere"}).directory == usual(home)
    marker_beside(link).unlink()
    assert (locate(link, home).directory, locate(link, home).found) == (usual(home), "exists")


def test_a_copy_of_a_config_directory_has_a_state_of_its_own(
    config: Path, home: dict[str, str], tmp_path: Path
) -> None:
    make_state(usual(home), **{CONFIG_FILE: str(config)})
    remember(config, usual(home))
    copy = Path(shutil.copytree(config.parent, tmp_path / "copy")) / "config.toml"
    found = locate(copy, home)
    assert (found.found, found.problem, found.neighbor) == ("new", "", usual(home))
    assert found.directory.parent == usual(home) / "configs"
    make_state(found.directory, **{CONFIG_FILE: str(copy)})
    assert remember(copy, found.directory) == ""
    assert locate(copy, home).directory == found.directory
    marker_beside(copy).unlink()
    assert locate(copy, home).directory == found.directory
    assert locate(config, home).directory == usual(home)


def test_a_directory_that_is_moved_with_its_marker_keeps_its_state(
    config: Path, home: dict[str, str], tmp_path: Path
) -> None:
    make_state(tmp_path / "var", **{CONFIG_FILE: str(config)})
    remember(config, tmp_path / "var")
    moved = config.parent.rename(tmp_path / "opt") / "config.toml"
    assert (locate(moved, home).directory, locate(moved, home).problem) == (tmp_path / "var", "")


def test_a_state_below_the_directory_that_is_moved_comes_along(
    config: Path, home: dict[str, str], tmp_path: Path
) -> None:
    make_state(config.parent / "state", **{CONFIG_FILE: str(config)})
    remember(config, config.parent / "state")
    moved = config.parent.rename(tmp_path / "opt") / "config.toml"
    assert (locate(moved, home).directory, locate(moved, home).problem) == (tmp_path / "opt" / "state", "")
    assert remember(moved, tmp_path / "opt" / "state") == ""
    assert json.loads(marker_beside(moved).read_text(encoding="utf-8"))["state"] == str(tmp_path / "opt" / "state")


def test_a_file_that_is_moved_alone_is_asked_about(config: Path, home: dict[str, str], tmp_path: Path) -> None:
    file = make_state(usual(home), **{CONFIG_FILE: str(config)})
    moved = config.rename(tmp_path / "config.toml")
    problem = locate(moved, home).problem
    assert f'url = "sqlite:///{file}"' in problem
    assert str(config) in problem


def test_states_from_before_there_were_markers_are_taken_over(
    config: Path, home: dict[str, str], tmp_path: Path
) -> None:
    make_state(usual(home))
    assert locate(config, home).found == "exists", "nothing says whose it is"
    make_state(usual(home), **{DAEMON_CONFIG: str(config)})
    assert (locate(config, home).directory, locate(config, home).found) == (usual(home), "exists")
    make_state(tmp_path / "var", **{DAEMON_CONFIG: str(config)})
    service = {**home, "STATE_DIRECTORY": str(tmp_path / "var")}
    assert locate(config, service).directory == tmp_path / "var"
    assert locate(config, {**home, "STATE_DIRECTORY": str(tmp_path / "new")}).directory == usual(home)


def test_a_config_in_etc_means_the_state_directory_of_the_unit(
    config: Path, home: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(location, "SYSTEM_CONFIG", config)
    monkeypatch.setattr(location, "SYSTEM_STATE", tmp_path / "var")
    make_state(usual(home), **{DAEMON_CONFIG: str(config)})
    make_state(tmp_path / "var", **{DAEMON_CONFIG: str(config)})
    assert locate(config, home).directory == tmp_path / "var", "not the second one that a shell has made"
    second = config.with_name("second.toml")
    second.touch()
    assert locate(second, home).directory.parent == tmp_path / "var" / "configs"


@needs_root
def test_a_command_of_any_user_begins_no_state_that_the_unit_would_not_use(everyones: Path) -> None:
    config = everyones / "config.toml"
    config.touch()
    (everyones / "home").mkdir()
    os.chown(everyones / "home", NOBODY, NOBODY)
    program = (
        "import sys\nfrom pathlib import Path\nfrom scheduler.state import location\n"
        "config, root = Path(sys.argv[1]), Path(sys.argv[1]).parent\n"
        "location.SYSTEM_CONFIG, location.SYSTEM_STATE = config, root / 'var'\n"
        f"{BECOME_NOBODY}"
        "def tell(environ):\n"
        "    found = location.locate(config, {'HOME': str(root / 'home'), **environ})\n"
        "    print(found.directory.relative_to(root), bool(found.problem), bool(found.unstarted))\n"
        "tell({})\ntell({'STATE_DIRECTORY': str(root / 'home')})\ninput()\ntell({})\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(config)],
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        before = [process.stdout.readline().split(), process.stdout.readline().split()]
        said = {"state": str(everyones / "var"), "config": str(config), "begun": False}  # as install-units leaves it
        marker_beside(config).write_text(json.dumps(said), encoding="utf-8")
        process.stdin.write("\n")
        process.stdin.flush()
        after = process.stdout.readline().split()
    assert before == [["home/.local/state/schedctl", "False", "True"], ["home", "False", "False"]]
    assert after == ["var", "True", "False"]


def test_a_units_state_that_a_daemon_has_used_counts_more_than_a_marker_of_one_that_none_has(
    config: Path, home: dict[str, str], tmp_path: Path
) -> None:
    service = {**home, "STATE_DIRECTORY": str(tmp_path / "var")}
    make_state(usual(home), **{CONFIG_FILE: str(config)})
    remember(config, usual(home))
    make_state(tmp_path / "var", **{CONFIG_FILE: str(config)})
    assert locate(config, service).directory == usual(home), "no daemon has used the one or the other"
    make_state(tmp_path / "var", **{DAEMON_CONFIG: str(config.with_name("other.toml"))})
    assert locate(config, service).directory == usual(home), "it is another config file's"
    make_state(tmp_path / "var", **{DAEMON_CONFIG: str(config)})
    found = locate(config, service)
    assert (found.directory, found.displaced) == (tmp_path / "var", usual(home))
    assert locate(config, home).directory == usual(home), "until the unit's daemon has started"
    make_state(usual(home), **{DAEMON_CONFIG: str(config)})
    assert locate(config, service).directory == usual(home), "nobody but a person can tell"
    (usual(home) / "state.db").unlink()
    assert locate(config, service).directory == tmp_path / "var", "it was moved there"
    assert remember(config, tmp_path / "var", instead_of=usual(home)) == ""
    assert locate(config, home).directory == tmp_path / "var"


def test_a_units_state_that_is_gone_after_it_was_begun_is_not_begun_anew(
    config: Path, home: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(location, "SYSTEM_STATE", tmp_path / "var")
    remember(config, tmp_path / "var")
    found = locate(config, home)
    assert (found.directory, found.found, found.problem) == (tmp_path / "var", "new", "")
    file = make_state(tmp_path / "var")
    remember(config, tmp_path / "var")
    file.unlink()
    remember(config, tmp_path / "var")
    assert "is not there" in locate(config, home).problem


def test_the_first_marker_wins(config: Path, tmp_path: Path) -> None:
    make_state(tmp_path / "a")
    remember(config, tmp_path / "a")
    with pytest.raises(FileExistsError, match=str(tmp_path / "a")):
        remember(config, tmp_path / "b")
    assert remember(config, tmp_path / "a") == ""
    assert sorted(each.name for each in config.parent.iterdir()) == [".config.toml.state", "config.toml"]


@pytest.mark.parametrize(
    "content", ["", "no JSON", "[]", '{"state": 5}', '{"state": "relative", "config": "/c"}', "[" * 100_000, "\0"]
)
def test_a_marker_that_cannot_be_read_counts_for_nothing_and_is_written_anew(
    config: Path, home: dict[str, str], tmp_path: Path, content: str
) -> None:
    marker_beside(config).write_text(content, encoding="utf-8")
    assert locate(config, home).found == "new"
    assert remember(config, tmp_path) == ""
    assert json.loads(marker_beside(config).read_text(encoding="utf-8"))["state"] == str(tmp_path)


def test_a_pipe_in_place_of_a_marker_is_not_waited_for(config: Path, home: dict[str, str]) -> None:
    os.mkfifo(marker_beside(config))
    assert locate(config, home).found == "new"


@needs_root
def test_a_marker_that_anybody_could_forge_counts_for_nothing(everyones: Path, home: dict[str, str]) -> None:
    config, forged = everyones / "config.toml", everyones / "forged"
    config.touch()
    make_state(forged)
    remember(config, forged)
    marker = marker_beside(config)
    os.chown(marker, NOBODY, NOBODY)
    assert locate(config, home).found == "marker", "in a directory that only its owner writes"
    everyones.chmod(0o1777)
    assert locate(config, home).found == "new"


def test_a_daemon_that_runs_says_where_its_state_is(config: Path, home: dict[str, str], tmp_path: Path) -> None:
    file = make_state(tmp_path / "var")
    with held_by_another_process(config, f"sqlite:///{file}") as pid:
        found = locate(config, home)
        assert (found.directory, found.found) == (tmp_path / "var", "daemon")
        assert differs_from_daemon(config, f"sqlite:///{file}") == ""
        told = differs_from_daemon(config, f"sqlite:///{tmp_path}/other.db")
        assert f"process {pid}" in told
        assert str(file) in told


def test_a_config_file_is_held_once_and_free_when_its_holder_is_killed(config: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.toml"
    link.symlink_to(config)
    with held_by_another_process(config, "sqlite:////a.db") as pid:
        for path in (config, link):
            second = hold_config(path, "sqlite:////b.db")
            assert isinstance(second, Holder)
            assert (second.pid, second.uid, second.state) == (pid, os.geteuid(), "sqlite:////a.db")
        with held(config.with_name("other.toml"), "x"):
            assert holder_of(config) == second
    with held(config, "sqlite:////b.db"):
        assert holder_of(link) == Holder(pid=os.getpid(), uid=os.geteuid(), state="sqlite:////b.db")
    assert holder_of(config) is None


def test_a_config_file_with_the_longest_name_is_held_too(tmp_path: Path) -> None:
    one, other = (tmp_path / f"{'n' * 240}{ending}.toml" for ending in ("one", "other"))
    with held(one, "sqlite:////a.db"):
        assert isinstance(hold_config(one, "sqlite:////b.db"), Holder)
        assert holder_of(other) is None


def test_a_name_that_somebody_holds_without_listening_refuses_the_daemon_in_time(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config_lock, "PATIENCE", 0.2)
    (name,) = config_lock._socket_names(config)
    with socket.socket(socket.AF_UNIX) as intruder:
        intruder.bind(name)
        found = hold_config(config, "x")
        assert isinstance(found, Holder)
        assert found.words == "a process that is hidden from here"
        assert holder_of(config) is None


def test_no_state_is_begun_while_the_daemon_does_not_say_where_its_state_is(
    config: Path, home: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config_lock, "PATIENCE", 0.2)
    with held_by_another_process(config, f"sqlite:///{tmp_path}/var/state.db") as pid:
        os.kill(pid, signal.SIGSTOP)
        os.waitpid(pid, os.WUNTRACED)
        assert f"runs (process {pid}" in locate(config, home).problem
        make_state(tmp_path / "var")
        remember(config, tmp_path / "var")
        assert (locate(config, home).directory, locate(config, home).problem) == (tmp_path / "var", "")


def test_a_release_directory_that_is_switched_is_still_held(config: Path, tmp_path: Path) -> None:
    releases = tmp_path / "releases"
    releases.mkdir()
    current = tmp_path / "current"
    current.symlink_to(config.parent.rename(releases / "1"))
    with held(current / "config.toml", "x"):
        (releases / "2").mkdir()
        (releases / "2" / "config.toml").touch()
        current.unlink()
        current.symlink_to(releases / "2")
        assert isinstance(hold_config(current / "config.toml", "y"), Holder)
        assert holder_of(releases / "2" / "config.toml") is None
        assert holder_of(releases / "1" / "config.toml") is not None


def test_two_files_of_one_name_in_two_directories_are_held_apart(config: Path, tmp_path: Path) -> None:
    other = tmp_path / "config.toml"
    other.touch()
    with held(config, "a"), held(other, "b"):
        assert holder_of(other) == Holder(pid=os.getpid(), uid=os.geteuid(), state="b")


@needs_root
def test_whoever_takes_the_place_of_a_daemon_leads_nobody_to_a_state_of_his(
    everyones: Path, home: dict[str, str]
) -> None:
    config = everyones / "config.toml"
    config.touch()
    with held_by_another_process(config, "sqlite:////tmp/evil/state.db", as_nobody=True) as pid:
        found = locate(config, home)
        assert found.directory == usual(home)
        told = differs_from_daemon(config, f"sqlite:///{found.file}")
        assert f"process {pid}, user nobody" in told
        assert isinstance(hold_config(config, "x"), Holder)
        os.chown(config, NOBODY, NOBODY)
        assert locate(config, home).directory == Path("/tmp/evil"), "the file's owner may say so"  # noqa: S108 - no file


@needs_root
def test_a_state_that_is_another_users_is_said_to_be_and_how_to_get_there(everyones: Path) -> None:
    config, file = everyones / "config.toml", make_state(everyones / "var")
    config.touch()
    program = (
        "import sys\nfrom pathlib import Path\nfrom scheduler.state.location import unreadable\n"
        f"{BECOME_NOBODY}"
        "print(unreadable(Path(sys.argv[1]), Path(sys.argv[2])))"
    )
    with held_by_another_process(config, f"sqlite:///{file}") as pid:
        command = [sys.executable, "-c", program, str(config), str(file)]
        told = subprocess.run(command, cwd="/", check=True, capture_output=True, text=True).stdout
    assert f"the state of {config} is {file} and belongs to user root" in told
    assert f"its daemon runs (process {pid}, user root)" in told
    assert "use sudo -u root schedctl" in told
    assert unreadable(config, file) == ""
    assert way_in(config, file, 54_321).startswith("sudo -u '#54321' schedctl COMMAND --config"), (
        "a user without a name"
    )
    spaced = way_in(config.with_name("my config.toml"), file, 0)
    assert spaced.endswith(f"--config '{config.parent}/my config.toml'"), "it can be pasted"


def test_a_directory_that_others_can_write_or_lock_is_told(tmp_path: Path) -> None:
    for mode, says in ((0o700, ""), (0o711, ""), (0o755, "can lock"), (0o777, "can lock and write"), (0o720, "write")):
        tmp_path.chmod(mode)
        assert says in exposed(tmp_path / "state.db"), oct(mode)
        assert bool(exposed(tmp_path / "state.db")) == bool(says), oct(mode)


def test_a_state_is_shared_only_while_the_other_file_keeps_its_own_there(config: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    file = make_state(tmp_path / "var", **{CONFIG_FILE: str(other)})
    assert other_owner(file, config) is None, "it is gone"
    other.write_text(f'[storage]\nurl = "sqlite:///{file}"\n', encoding="utf-8")
    assert other_owner(file, config) == other
    other.write_text("", encoding="utf-8")
    remember(other, file.parent)
    assert other_owner(file, config) == other
    other.write_text('[storage]\nurl = "sqlite:///own.db"\n', encoding="utf-8")
    assert other_owner(file, config) is None
    other.write_text('[storage]\nurl = "postgresql+psycopg://u@h/d"\n', encoding="utf-8")
    assert other_owner(file, config) is None


@needs_root
def test_sudo_makes_no_state_of_roots_for_a_users_file(
    config: Path, home: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    os.chown(config, NOBODY, NOBODY)
    assert "without sudo" in locate(config, {**home, "SUDO_UID": str(NOBODY)}).problem
    assert locate(config, home).problem == "", "a container that has only root"
    monkeypatch.setattr(location, "SYSTEM_CONFIG", config)
    assert locate(config, {**home, "SUDO_UID": str(NOBODY)}).problem == ""


def test_a_file_that_names_another_state_once_it_is_whole_is_not_joined_to_the_one_that_half_of_it_named(
    config: Path,
) -> None:
    half = build(read(config))
    config.write_text('[defaults]\ndisable_after = 3\n[storage]\nurl = "sqlite:///whole.db"\n', encoding="utf-8")
    with pytest.raises(OperationError, match="run this again"):
        rebuilt(read(config), half)
    whole = build(read(config))
    config.write_text('[storage]\nurl = "sqlite:///whole.db"\n', encoding="utf-8")
    assert rebuilt(read(config), whole).storage == whole.storage


@needs_root
def test_a_units_state_counts_more_than_a_marked_one_that_the_unit_may_not_read(everyones: Path) -> None:
    config, var, roots = everyones / "config.toml", everyones / "var", everyones / "roots"
    config.touch()
    make_state(roots, **{CONFIG_FILE: str(config)})
    roots.chmod(0o700)
    make_state(var, **{DAEMON_CONFIG: str(config)})
    for each in (var, *var.iterdir()):
        os.chown(each, NOBODY, NOBODY)
    program = (
        "import sys\nfrom pathlib import Path\nfrom scheduler.state.location import locate\n"
        f"{BECOME_NOBODY}"
        "found = locate(Path(sys.argv[1]), {'STATE_DIRECTORY': sys.argv[2]})\n"
        "print(found.directory.name, found.displaced and found.displaced.name, found.problem)"
    )
    seen: list[str] = []
    for is_by_daemon in (False, True):
        with held(config, "x") if is_by_daemon else nullcontext():
            remember(config, roots)
        seen.append(subprocess.check_output([sys.executable, "-c", program, config, var], text=True, cwd="/").strip())
    assert seen[0] == "var roots"
    assert seen[1].startswith(f"roots None {config} has two states: {roots}/state.db, and in this unit's")
    remember(config, roots)
    assert json.loads(marker_beside(config).read_text(encoding="utf-8"))["used"] is True, "a command does not forget it"


def test_a_release_directory_that_is_switched_keeps_the_state_of_its_config(
    config: Path, home: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "srv").symlink_to(tmp_path)
    releases = tmp_path / "app" / "releases"
    releases.mkdir(parents=True)
    current = tmp_path / "srv" / "app" / "current"
    current.symlink_to(config.parent.rename(releases / "1"))
    make_state(tmp_path / "var")
    assert remember(current / "config.toml", tmp_path / "var") == ""
    (releases / "2").mkdir()
    (releases / "2" / "config.toml").touch()
    remember(releases / "2" / "config.toml", tmp_path / "trial")  # somebody tried the release before the switch
    current.unlink()
    current.symlink_to(releases / "2")
    found = locate(current / "config.toml", home)
    assert (found.directory, found.found, found.problem) == (tmp_path / "var", "marker", "")
    assert remember(current / "config.toml", found.directory) == ""
    assert locate(releases / "2" / "config.toml", home).directory == tmp_path / "var"


@needs_root
def test_a_daemon_that_can_leave_no_marker_leaves_word_so_that_root_begins_no_second_state(
    everyones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hints, config, var = everyones / "hints", everyones / "config.toml", everyones / "var"
    root = {"HOME": str(tmp_path)}
    hints.mkdir()
    hints.chmod(0o1777)
    monkeypatch.setattr(location, "HINTS", hints)
    config.touch()
    make_state(var, **{DAEMON_CONFIG: str(config)})
    for each in (var, *var.iterdir()):
        os.chown(each, NOBODY, NOBODY)
    program = (
        "import pwd, sys\nfrom pathlib import Path\nfrom scheduler.state import location\n"
        "from scheduler.state.config_lock import hold_config\n"
        f"{BECOME_NOBODY}"
        "config, var, location.HINTS = map(Path, sys.argv[1:])\nlock = hold_config(config, 'x')\n"
        "reason = location.remember(config, var)\nlock.close()\n"
        "print(bool(reason), location.locate(config, {'HOME': '/nowhere'}).directory == var)"
    )
    told = subprocess.check_output([sys.executable, "-c", program, config, var, hints], text=True, cwd="/")
    assert told == "True True\n", "its own user finds the state by it"
    (hint,) = hints.iterdir()
    found = locate(config, root)
    assert found.directory == usual(root), "another user's word leads nobody to his state"
    assert f"keeps its state in {var}/state.db" in found.problem
    assert f"remove {hint}" in found.problem
    make_state(usual(root), **{CONFIG_FILE: str(config)})
    remember(config, usual(root))
    assert str(var) in locate(config, root).problem, "nor goes on with one that was begun before"
    make_state(usual(root), **{DAEMON_CONFIG: str(config)})
    assert locate(config, root).problem == ""
    marker_beside(config).unlink()
    (usual(root) / "state.db").unlink()
    os.chown(config, NOBODY, NOBODY)
    assert (locate(config, root).directory, locate(config, root).problem) == (var, "")
