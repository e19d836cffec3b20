"""The daily clearing: old runs and notices out of the database, and off the disk the spools that nobody needs."""

import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from exporter.spool import Spool
from scheduler.changing import sweep_snapshots
from scheduler.logs import get_logger
from storage import actions, notices, retention, snapshots
from storage.database import Database

CLEAR_SECONDS = 86_400
"""How often: once a day, and when a daemon starts."""
NOTICES_AT_ONCE = 1_000
ACTIONS_AT_ONCE = 1_000
SPOOLS_AT_ONCE = 500
UNNAMED_FOR = timedelta(days=1)
"""How long a snapshot's file may be there before the transaction that names it."""
_SPOOL = re.compile(r"run-(?P<run>[0-9]{1,18})(?P<beside>-.+)?")
_LOST = "lost-"
_PREVIEW = "preview-"
_STAGED = "-changes-"
_HARMLESS = {"succeeded", "partial", "skipped"}
"""The outcomes of runs whose spool proves nothing: all that was to be sent is there, or nothing was sent."""

log = get_logger("schedctl.retention")


def clear(
    database: Database,
    spool: Path,
    *,
    snapshots_directory: Path,
    history: int,
    now: datetime,
    is_stopping: Callable[[], bool] = lambda: False,
) -> None:
    """Delete what ended more than ``history`` seconds ago, then sweep the spool directory. Ends early if asked to."""
    before = now - timedelta(seconds=history)
    old_notices = sum(_notices(database, before, is_stopping))
    sum(_actions(database, before, is_stopping))
    old_runs = sum(_runs(database, before, is_stopping))
    swept = sum(1 for _ in sweep(database, spool, before)) if not is_stopping() else 0
    _snapshots(database, snapshots_directory, before, now)
    if old_notices or old_runs or swept:
        log.info("history.pruned", before=before.isoformat(), runs=old_runs, notices=old_notices, spools=swept)


def _snapshots(database: Database, directory: Path, before: datetime, now: datetime) -> None:
    """Forget the snapshots of jobs that were removed long ago, then remove the files that nothing names."""
    with database.write() as session:
        snapshots.prune(session, before=before)
    sweep_snapshots(database, directory, (now - UNNAMED_FOR).timestamp())


def _notices(database: Database, before: datetime, is_stopping: Callable[[], bool]) -> Iterator[int]:
    while not is_stopping():
        with database.write() as session:
            deleted = notices.prune(session, before=before, limit=NOTICES_AT_ONCE)
        yield deleted
        if deleted < NOTICES_AT_ONCE:
            return


def _actions(database: Database, before: datetime, is_stopping: Callable[[], bool]) -> Iterator[int]:
    deleted = ACTIONS_AT_ONCE
    while deleted == ACTIONS_AT_ONCE and not is_stopping():
        with database.write() as session:
            deleted = actions.prune(session, before=before, limit=ACTIONS_AT_ONCE)
        yield deleted


def _runs(database: Database, before: datetime, is_stopping: Callable[[], bool]) -> Iterator[int]:
    after: int | None = 0
    while after is not None and not is_stopping():
        with database.write() as session:
            step = retention.prune_runs(session, before=before, after=after)
        yield step.runs
        after = step.after


def set_aside(database: Database, spool: Path) -> list[Path]:
    """Rename the spools of runs that this database never had, and return them under their new names.

    They are left from another database, or from after the moment to which a backup of it was put back. A new run will
    have such a number again, and must not find, and send, what is not its own. To be done before any run starts.
    """
    moved = []
    found = list(_spools(spool))
    with database.read() as session:
        newest = retention.newest_run(session)
    for directory, run, _ in found:
        if run > newest:
            aside = directory.with_name(f"{_LOST}{directory.name}-{secrets.token_hex(4)}")
            try:
                directory.rename(aside)
            except OSError as error:  # then no run can write here either
                log.error("spool.not_set_aside", directory=str(directory), message=error.strerror)  # noqa: TRY400 - says it all
                continue
            moved.append(aside)
            log.warning("spool.set_aside", directory=str(aside), message=f"the state database knows no run {run}")
    return moved


def sweep(database: Database, spool: Path, before: datetime) -> Iterator[Path]:
    """Remove the directories in ``spool`` that nobody needs, and yield each that is gone.

    Needed are those of a run that waits or goes on, and what a run that failed after it did something leaves: until it
    is pruned, they alone tell what that was. So do directories beside a spool (``run-7-…``), however their run ended.
    What was set aside, or left by a killed preview, goes when it was last written ``before`` then.
    """
    for lost in _directories(spool):
        if (
            lost.name.startswith((_LOST, _PREVIEW))
            and datetime.fromtimestamp(lost.stat().st_mtime, UTC) < before
            and _remove(lost)
        ):
            yield lost
    found = list(_spools(spool))  # before the database is asked, in which a spool's run always was first
    for start in range(0, len(found), SPOOLS_AT_ONCE):
        some = found[start : start + SPOOLS_AT_ONCE]
        with database.read() as session:
            states = retention.run_states(session, {run for _, run, _ in some})
        for directory, run, is_beside in some:
            if run in states and not _is_useless(directory, states[run], is_beside=is_beside):
                continue
            if _remove(directory):
                yield directory


def abandon(spool: Path) -> int:
    """Remove what queries that did not end have left in spools, and return how many did: it may have filled the disk.

    A run of another process that is filling one fails for a reason that may pass, and is tried again.
    """
    return sum(Spool(directory).abandon() for directory, _, _ in _spools(spool))


def _remove(directory: Path) -> bool:
    try:
        shutil.rmtree(directory)
    except FileNotFoundError:  # its run was faster
        return False
    except OSError as error:
        log.warning("spool.not_discarded", directory=str(directory), message=error.strerror)
        return False
    return True


def _is_useless(directory: Path, state: tuple[str | None, bool], *, is_beside: bool) -> bool:
    """Whether a run that there is needs the directory no more. What it staged to compare serves only until it ends."""
    if is_beside:
        return _STAGED in directory.name and state[0] is not None
    return _is_done_with(*state)


def _is_done_with(outcome: str | None, has_acted: bool) -> bool:  # noqa: FBT001 - what run_states gives
    return outcome in _HARMLESS or (outcome is not None and not has_acted)


def _spools(spool: Path) -> Iterator[tuple[Path, int, bool]]:
    """Yield each directory of a run, its run's number, and whether it is one beside the spool itself."""
    for directory in _directories(spool):
        match = _SPOOL.fullmatch(directory.name)
        if match is not None:
            yield directory, int(match["run"]), match["beside"] is not None


def _directories(spool: Path) -> list[Path]:
    try:
        return sorted(entry for entry in spool.iterdir() if entry.is_dir() and not entry.is_symlink())
    except OSError:  # not made yet
        return []
