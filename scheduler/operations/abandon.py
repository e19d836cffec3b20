"""The end of a begun run that no daemon can go on with, since its spool, or the host that has it, is gone."""

from datetime import datetime

from scheduler.config.build import Config
from scheduler.environment.actors import record_action
from scheduler.errors.operation_error import failed
from scheduler.nodes.presence import present
from scheduler.nodes.process import lives
from scheduler.operations.runs import get_run
from scheduler.runs.incremental import COMPLETED, is_broken_off
from storage import nodes
from storage.database import ClaimLost, Database
from storage.engine.server_clock import shared_now
from storage.runs import ledger, runs
from storage.runs.runs import StoredRun
from storage.values import Actor


def abandon(
    database: Database,
    config: Config,
    run_id: int,
    now: datetime,
    *,
    even_unasked: bool = False,
    by: Actor | None = None,
) -> StoredRun:
    """End a begun run: settle what the target can still tell of it, and send nothing more; return it as it ended.

    ``even_unasked``: also if the target cannot be asked. Raises not-found; and failed if the run has ended, has sent
    nothing yet, is in the hands of a process that lives, or if the target cannot be asked: then nothing has changed.

    A run of an incremental append that has broken off keeps later slots from running; given up, its slot counts as
    done, and the next one selects what is new since.
    """
    from scheduler.runs import runner  # noqa: PLC0415 - drivers, for this alone

    get_run(database, run_id)
    with present(database, now) as node:  # what dead processes of this host held is given back first
        with database.write() as session:
            shared = shared_now(session, now)
            run = runs.get_run(session, run_id)
            if run is not None and run.state == "running":
                owner = next((each for each in nodes.all_nodes(session) if each.id == run.owner), None)
                if owner is not None and lives(owner, shared):
                    raise failed(f"run {run_id} goes on, on {owner.host}: schedctl cancel {run_id} stops it")
                if not runs.take_back(session, [run_id], now=shared):
                    raise failed(f"the claim of run {run_id} has not run out yet: try again in half a minute")
                run = runs.get_run(session, run_id)
            if run is not None and is_broken_off(session, run):
                runs.set_reason(session, run_id, COMPLETED)
                record_action(session, by, "abandoned", now=now, jobs=[run.job], run_id=run_id)
                return runs.get_run(session, run_id) or run
            if run is None or run.state == "finished":
                raise failed(f"run {run_id} has ended already: {run.outcome if run else 'it is gone'}")
            if not ledger.entries(session, run_id):
                raise failed(f"run {run_id} has sent nothing yet: schedctl cancel {run_id} ends it")
            # No longer than a daemon's own claims, or a daemon beside this takes it for one of before a clock change.
            lease = runner.LEASE_SECONDS
            claimed = runs.claim_run(session, run_id, owner=node.id, now=now, lease_seconds=lease, lease_from=shared)
        if claimed is None:
            raise failed(f"another run of {run.job} goes on: wait for it, or schedctl cancel it, then abandon {run_id}")
        try:
            ended = runner.abandon(
                database,
                config,
                claimed,
                owner=node.id,
                spool_root=config.storage.spool,
                even_unasked=even_unasked,
            )
        except runner.NotAskedError as error:
            raise failed(
                f"run {run_id} stays as it is, since {error.reason}; try again, or --now ends it with what the ledger "
                "alone proves"
            ) from error
        except ClaimLost as error:
            raise failed(f"run {run_id} was taken by another process meanwhile: schedctl runs show {run_id}") from error
        with database.write() as session:
            record_action(session, by, "abandoned", now=now, jobs=[run.job], run_id=run_id)
    return ended
