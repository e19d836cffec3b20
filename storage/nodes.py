"""The processes that own claims: who they are, and when they were last seen."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from storage.engine.dialect_sql import insert_into
from storage.models import table
from storage.values import Node

__all__ = ["Node", "all_nodes", "gone", "register", "touch"]

_NODE = table("node")


def register(session: Session, node: Node) -> None:
    """Store the node, in place of what was stored under its id."""
    values = asdict(node)
    statement = insert_into(session, _NODE).values(values)
    rest = {key: value for key, value in values.items() if key != "id"}
    session.execute(statement.on_conflict_do_update(index_elements=["id"], set_=rest))


def touch(session: Session, node_id: str, now: datetime, info: Mapping[str, Any] | None = None) -> bool:
    """Note that the node lives, and what it tells of itself if anything; False if another declared it gone."""
    values: dict[str, Any] = {"seen_at": now}
    if info is not None:
        values["info"] = dict(info)
    seen = update(_NODE).where(_NODE.c.id == node_id).values(values).returning(_NODE.c.id)
    return session.execute(seen).one_or_none() is not None


def gone(session: Session, node_id: str) -> None:
    """Forget the node. Its claims are not touched: see :func:`storage.runs.claims.take_back`."""
    session.execute(delete(_NODE).where(_NODE.c.id == node_id))


def all_nodes(session: Session) -> list[Node]:
    """Return every node, the one started first in front."""
    query = select(_NODE).order_by(_NODE.c.started_at, _NODE.c.id)
    return [Node(**row) for row in session.execute(query).mappings()]
