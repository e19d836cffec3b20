"""The daily clearing: old runs and notices out of the database, and off the disk the spools that nobody needs."""

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from exporter.spool.spool import Spool
from scheduler.jobs.outline import Outline
from scheduler.observability.logging_setup import get_logger
from scheduler.runs import spool_identity
from scheduler.runs.change_tracking import sweep_snapshots
from storage import actions, key_values, notices, retention
from storage.database import Database, Session
from storage.engine.dialect_sql import chunks
from storage.jobs import snapshots
from storage.runs import runs

CLEAR_SECONDS = 86_400
"""How often: once a day, and when a daemon starts."""
NOTICES_AT_ONCE = 1_000
ACTIONS_AT_ONCE = 1_000
UNNAMED_FOR = timedelta(days=1)
"""How long a snapshot's file may be there before the transaction that names it."""
_LOST = "lost-"
_PREVIEW = "preview-"
_STAGED = "-changes-"
_DELETED = "-deleted"
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
    """Rename the spools that are no run's of this database, and return them under their new names.

    They are left from a database that is no more, or from after the moment to which a backup of this one was put back.
    Those of another database that uses the same directory stay: names and contents of spools say whose they are
    (:mod:`scheduler.runs.spool_identity`), so that no run takes another's for its own.
    """
    found = list(spool_identity.directories(spool))
    with database.read() as session:
        database_id, newest = key_values.database_id(session), retention.newest_run(session)
        names = _spool_names(session, {each.run for each in found}, database)
    moved: list[Path] = []
    for each in found:
        if each.spool in names.get(each.run, ()) or (each.is_old and each.run <= newest):
            continue
        whose = spool_identity.origin(spool / each.spool, database_id, database.name)
        is_pruned = each.run not in names and each.run <= newest and whose in {"ours", "unknown"}
        if whose == "theirs" or is_pruned:
            continue
        aside = spool_identity.set_aside(each.path, f"the state database knows no run {each.run} that it is of")
        moved += [] if aside is None else [aside]
    return moved


def _spool_names(session: Session, numbers: set[int], database: Database) -> dict[int, set[str]]:
    """Return what the spool directories of these runs are called, for those of them that there are."""
    database_id = key_values.database_id(session)
    found = runs.get_runs(session, numbers)
    return {
        run.id: {spool_identity.directory_name(spool_identity.owner_of(run, database_id, database.name))}
        for run in found
    }


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
    found = list(
        spool_identity.directories(spool)
    )  # before the database is asked, in which a spool's run always was first
    for some in chunks(found):
        with database.read() as session:
            numbers = {each.run for each in some}
            states, names = retention.run_states(session, numbers), _spool_names(session, numbers, database)
            mirrors = {run.id for run in runs.get_runs(session, numbers) if Outline(run.definition).changes == "mirror"}
            newest, database_id = retention.newest_run(session), key_values.database_id(session)
        for each in some:
            if each.is_old or each.spool in names.get(each.run, ()):
                state = states.get(each.run)
                is_mirrors = each.run in mirrors
                is_useless = state is None or _is_useless(each, *state, is_mirrors=is_mirrors)
            else:  # of a run that was pruned, or not of this database: set_aside looks after that
                whose = spool_identity.origin(spool / each.spool, database_id, database.name)
                is_useless = each.run not in names and each.run <= newest and whose in {"ours", "unknown"}
            if is_useless and _remove(each.path):
                yield each.path


def abandon(spool: Path) -> int:
    """Remove what queries that did not end have left in spools, and return how many did: it may have filled the disk.

    A run of another process that is filling one fails for a reason that may pass, and is tried again.
    """
    return sum(Spool(each.path).abandon() for each in spool_identity.directories(spool))


def _remove(directory: Path) -> bool:
    try:
        shutil.rmtree(directory)
    except FileNotFoundError:  # its run was faster
        return False
    except OSError as error:
        log.warning("spool.not_discarded", directory=str(directory), message=error.strerror)
        return False
    return True


def _is_useless(each: spool_identity.Directory, outcome: str | None, has_acted: bool, *, is_mirrors: bool) -> bool:  # noqa: FBT001 - what run_states gives
    """Whether a run that there is needs the directory no more.

    What it staged to compare serves only until it ends, and the Ids of what a mirror deleted only until that went well.
    """
    if not each.is_beside:
        return outcome in _HARMLESS or (outcome is not None and not has_acted)
    if each.path.name.endswith(_DELETED):
        return is_mirrors and outcome in _HARMLESS
    return _STAGED in each.path.name and outcome is not None


def _directories(spool: Path) -> list[Path]:
    try:
        return sorted(entry for entry in spool.iterdir() if entry.is_dir() and not entry.is_symlink())
    except OSError:  # not made yet
        return []
