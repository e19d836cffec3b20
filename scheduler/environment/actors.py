"""Who does what: this process's user, and the command. Values of flags are not kept: they may hold secrets."""

import os
import socket
from collections.abc import Iterable, Mapping
from datetime import datetime

from scheduler.environment.users import user_name
from storage import actions
from storage.database import Session
from storage.values import Actor

AUTOMATIC = "automatic"
"""The command of what schedctl does of its own accord, such as disabling a job after its failures."""


def this_actor(command: str, environ: Mapping[str, str] | None = None) -> Actor:
    """Return the user of this process, with the user who typed sudo, as the one who gives a command.

    The login name comes from the user id, which no variable changes; ``SUDO_USER`` is sudo's word alone, and kept
    beside it.
    """
    environ = os.environ if environ is None else environ
    user = user_name(os.getuid())
    sudo_user = environ.get("SUDO_USER") or None
    return Actor(
        user=user, sudo_user=sudo_user if sudo_user != user else None, host=socket.gethostname(), command=command
    )


def record_action(
    session: Session,
    by: Actor | None,
    change: str,
    *,
    now: datetime,
    jobs: Iterable[str | None] = (None,),
    run_id: int | None = None,
) -> None:
    """Keep, in the transaction that does it, who did something to jobs or a run; None: this process's user."""
    actions.record(session, by or this_actor("schedctl"), change, now=now, jobs=jobs, run_id=run_id)
