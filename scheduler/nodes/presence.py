"""Which processes work on the state database: whether a daemon lives, and this process as one that holds claims."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta

from scheduler.nodes.health import silence
from scheduler.nodes.process import is_dead, living_daemon, this_node
from storage import nodes
from storage.database import Database
from storage.engine.server_clock import shared_now
from storage.nodes import Node
from storage.runs import runs


def live_daemon(database: Database, now: datetime) -> Node | None:
    """Return a daemon that lives, as far as one can tell from here; None if there is none."""
    return heard_daemon(database, now)[0]


def heard_daemon(database: Database, now: datetime) -> tuple[Node | None, timedelta]:
    """Return a daemon that lives, as :func:`live_daemon` does, and how long ago it told of itself."""
    with database.read() as session:
        known, shared = nodes.all_nodes(session), shared_now(session, now)
    daemon = living_daemon(known, shared)
    return daemon, silence(daemon, shared)


@contextmanager
def present(database: Database, now: datetime) -> Iterator[Node]:
    """Be a node that may own claims while the block goes on; what dead ones of this host held is taken back first."""
    node = this_node("cli", now)
    with database.write() as session:
        dead = [other.id for other in nodes.all_nodes(session) if is_dead(other)]
        runs.take_back(session, owners=dead, now=now)
        for other in dead:
            nodes.gone(session, other)
        nodes.register(session, replace(node, seen_at=shared_now(session, now)))
    try:
        yield node
    finally:
        with database.write() as session:
            nodes.gone(session, node.id)
