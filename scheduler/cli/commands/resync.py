"""`resync`: what is to become of rows that a change-only job has sent, or may have."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from exporter.counted import counted
from scheduler.cli.arguments import options
from scheduler.cli.arguments.groups import add_command
from scheduler.cli.arguments.lazy_module import Late
from scheduler.cli.printing.output import put, put_json, warn
from scheduler.errors.operation_error import usage

if TYPE_CHECKING:
    from scheduler.cli.state import session
    from scheduler.environment import actors
    from scheduler.operations import jobs
    from scheduler.operations import resync as resyncs
    from scheduler.operations.resync import Decision
else:
    actors = Late("scheduler.environment.actors")
    session = Late("scheduler.cli.state.session")
    jobs = Late("scheduler.operations.jobs")
    resyncs = Late("scheduler.operations.resync")


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "resync", resync, example="schedctl resync contacts")


def resync(
    *,
    name: options.Name,
    sent: Annotated[bool, typer.Option("--sent", help="The rows in doubt arrived: do not send them again.")] = False,
    unsent: Annotated[bool, typer.Option("--unsent", help="The rows in doubt did not arrive: send them.")] = False,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Treat the rows sent so far as sent to the target that the job has now.")
    ] = False,
    as_json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Have the next run of a job with `changes` send every row again.

    The flags decide instead what a run could not know: whether rows in doubt have arrived, or whether the rows sent so
    far are in the target that the job has now. The command itself sends nothing.
    """
    now = datetime.now(UTC)
    chosen: list[Decision] = []
    if sent:
        chosen.append("sent")
    if unsent:
        chosen.append("unsent")
    if adopt:
        chosen.append("adopt")
    if len(chosen) > 1:
        raise usage("--sent, --unsent and --adopt exclude each other: choose one")
    with session.opened(config, now) as bench:
        job = jobs.view_job(bench.database, name).job
        decision: Decision = chosen[0] if chosen else "resend"
        done = resyncs.resync(bench.database, job, decision, now, by=actors.this_actor("schedctl resync"))
    if as_json:
        put_json({"job": name, "decision": done.decision, "rows": done.rows, "doubtful": done.doubtful})
        return
    texts = {
        "resend": f"the next run of {name} sends every row again ({counted(done.rows, 'key')} known to be there)",
        "sent": f"{counted(done.doubtful, 'row')} of {name} now marked as sent",
        "unsent": f"the next run of {name} sends {counted(done.doubtful, 'row')} again",
        "adopt": f"{counted(done.rows, 'row')} of {name} now marked as sent to its present target",
    }
    put(texts[decision])
    if decision == "resend" and getattr(job.export.options, "mode", None) == "append":
        warn('mode = "append": rows that are there already will be there twice')
