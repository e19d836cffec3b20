"""Refresh tokens: kept where only the owner reads them, replaced without loss, used by one process at a time."""

import json
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.runs.exports import ListLedger, QuickControl, make_context, make_spool, people
from support.salesforce.logins import (
    INSTANTS,
    RIGHTS,
    TOKEN_CALL,
    connect,
    keep_token,
    kept_token,
    new_refresh_token,
    post_token,
    rights,
    start_login,
    target_of,
)

from exporter.emulator.fault_injection import CallFault
from exporter.emulator.org.org import USERNAME
from exporter.emulator.server import Emulator
from exporter.failures import ExportError, FailureKind
from exporter.targets.salesforce.auth.identity import identify
from exporter.targets.salesforce.auth.token_store import KeptToken, TokenFile


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(rights=RIGHTS) as served:
        yield served


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the connection keeps its token."""
    return tmp_path / "tokens" / "crm.json"


def refused(connection: Any, code: str, words: str) -> ExportError:
    with pytest.raises(ExportError, match=words) as caught:
        identify(connection)
    assert (caught.value.kind, caught.value.code) == (FailureKind.CONFIGURATION, code)
    return caught.value


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def is_good(emulator: Emulator, token: str) -> bool:
    return "access_token" in post_token(emulator, grant_type="refresh_token", refresh_token=token)


def test_without_rotation_the_token_stays_as_it_is(emulator: Emulator, tmp_path: Path, path: Path) -> None:
    connection = connect("oauth", emulator, tmp_path)
    before = path.read_bytes()
    for _ in range(3):
        assert identify(connection).username == USERNAME
    assert path.read_bytes() == before


def test_with_rotation_each_login_leaves_the_next_token_and_nothing_else(
    emulator: Emulator, tmp_path: Path, path: Path
) -> None:
    connection = connect("oauth", emulator, tmp_path)
    rights(emulator, rotate_refresh_tokens=True)
    tokens = {kept_token(path)}
    for _ in range(4):
        identify(connection)
        tokens.add(kept_token(path))
    assert len(tokens) == 5
    assert (mode(path.parent), mode(path)) == (0o700, 0o600)
    assert {each.name for each in path.parent.iterdir()} == {"crm.json", "crm.json.lock"}
    assert mode(path.with_name("crm.json.lock")) == 0o600


def test_a_new_token_is_on_disk_before_its_access_token_is_used(emulator: Emulator, tmp_path: Path, path: Path) -> None:
    connection = connect("oauth", emulator, tmp_path)
    rights(emulator, rotate_refresh_tokens=True)
    first = kept_token(path)
    seen: list[str] = []
    really = emulator.gate.answer

    def look(request: Any) -> Any:
        if request.path.startswith("/services/data/"):
            seen.append(json.loads(path.read_bytes())["refresh_token"])
        return really(request)

    emulator.gate.answer = look  # type: ignore[method-assign] # to look at the disk when a call arrives
    identify(connection)
    assert seen == [kept_token(path)]
    assert seen != [first]


def test_threads_that_refresh_at_once_never_use_one_token_twice(emulator: Emulator, tmp_path: Path) -> None:
    connection = connect("oauth", emulator, tmp_path)
    rights(emulator, rotate_refresh_tokens=True)
    found: list[str | None] = []
    threads = [threading.Thread(target=lambda: found.append(identify(connection).username)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [USERNAME] * 6
    assert emulator.gate.counts()[TOKEN_CALL] == 7, "one for the code, one for each thread"


def test_processes_that_refresh_at_once_never_lock_themselves_out(
    emulator: Emulator, tmp_path: Path, path: Path
) -> None:
    connect("oauth", emulator, tmp_path)
    rights(emulator, rotate_refresh_tokens=True)
    processes = [start_login(path, emulator.url) for _ in range(3)]
    for process in processes:
        out, _ = process.communicate(timeout=60)
        assert (process.returncode, out.split()) == (0, [USERNAME] * 3), out
    assert is_good(emulator, kept_token(path))


@pytest.mark.parametrize("instant", INSTANTS[1:])
def test_a_kill_while_the_token_is_replaced_loses_none(
    emulator: Emulator, tmp_path: Path, path: Path, instant: str
) -> None:
    connection = connect("oauth", emulator, tmp_path)
    rights(emulator, rotate_refresh_tokens=True)
    process = start_login(path, emulator.url, instant)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (-9, "")
    assert identify(connection).username == USERNAME
    assert {each.name for each in path.parent.iterdir()} == {"crm.json", "crm.json.lock"}


def test_a_kill_before_the_answer_was_written_anywhere_is_told_with_its_way_out(
    emulator: Emulator, tmp_path: Path, path: Path
) -> None:
    connection = connect("oauth", emulator, tmp_path)
    rights(emulator, rotate_refresh_tokens=True)
    process = start_login(path, emulator.url, INSTANTS[0])
    process.communicate(timeout=60)
    assert process.returncode == -9
    error = refused(connection, "invalid_grant", "run schedctl login crm")
    assert "expired access/refresh token" in error.message
    keep_token(path, new_refresh_token(emulator))
    assert identify(connection).username == USERNAME


def test_a_kill_without_rotation_costs_nothing(emulator: Emulator, tmp_path: Path, path: Path) -> None:
    connection = connect("oauth", emulator, tmp_path)
    process = start_login(path, emulator.url, INSTANTS[0])
    process.communicate(timeout=60)
    assert process.returncode == -9
    assert identify(connection).username == USERNAME


@pytest.mark.parametrize("content", [b" " * 100, b'{"refresh_token": "half', b"", b"[]", b'{"refresh_token": "x"}'])
def test_what_a_killed_process_had_only_begun_to_write_is_left_aside(
    emulator: Emulator, tmp_path: Path, path: Path, content: bytes
) -> None:
    connection = connect("oauth", emulator, tmp_path)
    draft = path.with_name("crm.json.new")
    draft.write_bytes(content)
    draft.chmod(0o600)
    assert identify(connection).username == USERNAME
    assert not draft.exists()


def test_a_draft_of_another_token_is_left_aside(emulator: Emulator, tmp_path: Path, path: Path) -> None:
    connection = connect("oauth", emulator, tmp_path)
    stranger = KeptToken(refresh_token="another", client_id="emulator").rotated("a third")
    keep_token(path.with_name("other.json"), stranger.refresh_token)
    path.with_name("other.json").rename(path.with_name("crm.json.new"))
    assert identify(connection).username == USERNAME


@pytest.mark.parametrize("action", ["drop_after", "truncate"])
def test_with_rotation_a_lost_answer_is_told_and_not_repeated_for_ever(
    emulator: Emulator, tmp_path: Path, action: Any
) -> None:
    connection = connect("oauth", emulator, tmp_path)
    rights(emulator, rotate_refresh_tokens=True)
    emulator.faults.add(CallFault(pattern="token", nth=(1,), action=action))
    with pytest.raises(ExportError, match="run schedctl login crm") as caught:
        target_of(connection).check()
    assert (caught.value.kind, caught.value.code) == (FailureKind.CONFIGURATION, "invalid_grant")


def test_a_token_that_salesforce_ended_says_who_has_to_do_what(emulator: Emulator, tmp_path: Path, path: Path) -> None:
    connection = connect("oauth", emulator, tmp_path)
    for _ in range(5):
        new_refresh_token(emulator)  # the sixth for one user and app ends the oldest
    error = refused(connection, "invalid_grant", "run schedctl login crm$")
    assert kept_token(path) not in str(error)


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"client_id": "other"}, "NOT_LOGGED_IN", "belongs to another client_id: run schedctl login crm"),
        ({"client_secret": None}, "invalid_client", "client_secret, which the app may or may not ask for"),
    ],
)
def test_an_app_that_does_not_fit_is_told(
    emulator: Emulator, tmp_path: Path, changes: dict[str, Any], code: str, words: str
) -> None:
    refused(connect("oauth", emulator, tmp_path, **changes), code, words)


def test_an_instance_that_has_moved_is_used_from_then_on(emulator: Emulator, tmp_path: Path) -> None:
    connection = connect("oauth", emulator, tmp_path)
    with Emulator(rights=RIGHTS) as moved:
        token = post_token(moved, grant_type="client_credentials")["access_token"]
        body = json.dumps({"access_token": token, "instance_url": moved.url})
        here = connect("oauth", emulator, tmp_path)
        emulator.faults.add(
            CallFault(pattern="token", nth=(2,), action="answer", status=200, body=body, kind="application/json")
        )  # fmt: skip
        emulator.faults.add(CallFault(pattern="GET .*/describe$", nth=(1,), action="expire"))
        context = make_context(ListLedger(), control=QuickControl())
        report = target_of(here).export(make_spool(tmp_path / "s", people(3)), context)
        assert report.accepted == 3
        assert (emulator.org.count("Contact"), moved.org.count("Contact")) == (0, 3)
    assert connection.token_file == here.token_file


def test_before_the_first_login_it_says_how(emulator: Emulator, tmp_path: Path, path: Path) -> None:
    connection = connect("oauth", emulator, tmp_path)
    path.unlink()
    before = emulator.gate.counts()
    refused(connection, "NOT_LOGGED_IN", "nobody has logged in yet .* run schedctl login crm")
    for each in path.parent.iterdir():
        each.unlink()
    path.parent.rmdir()
    refused(connection, "NOT_LOGGED_IN", "nobody has logged in yet .* run schedctl login crm")
    assert emulator.gate.counts() == before


@pytest.mark.parametrize("given", [0o640, 0o604, 0o620])
def test_a_token_that_others_can_read_is_not_used(emulator: Emulator, tmp_path: Path, path: Path, given: int) -> None:
    connection = connect("oauth", emulator, tmp_path)
    path.chmod(given)
    refused(connection, "TOKEN_FILE", "chmod 600")


@pytest.mark.parametrize(
    ("suffix", "says"), [("", "it is a pipe, not a regular file"), (".new", "crm.json.new cannot be written")]
)
def test_a_pipe_in_the_place_of_a_token_is_not_waited_for(
    emulator: Emulator, tmp_path: Path, path: Path, suffix: str, says: str
) -> None:
    connection = connect("oauth", emulator, tmp_path)
    odd = path.with_name(path.name + suffix)
    odd.unlink(missing_ok=True)
    os.mkfifo(odd, mode=0o600)
    refused(connection, "TOKEN_FILE", says)


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"{}", b"\xff", b'{"refresh_token": 1, "client_id": "x"}'])
def test_a_file_without_a_token_is_told(emulator: Emulator, tmp_path: Path, path: Path, content: bytes) -> None:
    connection = connect("oauth", emulator, tmp_path)
    path.write_bytes(content)
    refused(connection, "TOKEN_FILE", "holds no refresh token: run schedctl login crm")


def test_where_no_new_token_could_be_written_the_old_one_is_not_used_up(
    emulator: Emulator, tmp_path: Path, path: Path
) -> None:
    connection = connect("oauth", emulator, tmp_path)
    rights(emulator, rotate_refresh_tokens=True)
    path.with_name("crm.json.new").mkdir()
    before = emulator.gate.counts()
    refused(connection, "TOKEN_FILE", "cannot be written")
    assert emulator.gate.counts() == before
    assert is_good(emulator, kept_token(path))


def test_a_full_disk_is_noticed_while_the_old_token_is_still_good(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = connect("oauth", emulator, tmp_path)
    rights(emulator, rotate_refresh_tokens=True)

    def full(_handle: int, _content: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        refused(connection, "TOKEN_FILE", "No space left on device")
    assert identify(connection).username == USERNAME


def test_a_token_that_cannot_be_put_in_place_is_kept_for_the_next_login(
    emulator: Emulator, tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = connect("oauth", emulator, tmp_path)
    rights(emulator, rotate_refresh_tokens=True)

    def fail(_self: Path, _target: Path) -> Path:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", fail)
        refused(connection, "TOKEN_FILE", "Read-only file system")
    assert path.with_name("crm.json.new").exists()
    assert identify(connection).username == USERNAME


def test_a_link_to_the_file_stays_a_link(emulator: Emulator, tmp_path: Path, path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(path)
    connection = connect("oauth", emulator, tmp_path, token_file=str(link))
    rights(emulator, rotate_refresh_tokens=True)
    before = kept_token(path)
    identify(connection)
    assert link.is_symlink()
    assert kept_token(path) != before
    assert not link.with_name("link.json.lock").exists()


def test_who_waits_for_a_token_too_long_gives_up_for_now(path: Path) -> None:
    keep_token(path, "a token")
    file = TokenFile(path, command="schedctl login crm")
    with file.locked(5), pytest.raises(ExportError) as caught, TokenFile(path, command="").locked(0.1):
        pytest.fail("two hold it")
    assert (caught.value.kind, caught.value.code) == (FailureKind.TRANSIENT, "TOKEN_BUSY")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_writes_belongs_to_the_owner_of_the_directory(emulator: Emulator, tmp_path: Path, path: Path) -> None:
    os.chown(tmp_path, 4242, 4343)
    connection = connect("oauth", emulator, tmp_path)
    rights(emulator, rotate_refresh_tokens=True)
    identify(connection)
    for each in (path.parent, path, path.with_name("crm.json.lock")):
        assert (each.stat().st_uid, each.stat().st_gid) == (4242, 4343)
