"""Definitions of jobs, kept once each however many runs and changes refer to them. They are opaque documents here."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.models import table
from storage.statements import chunks, insert_into

DEFINITION = table("definition")


def digest(definition: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the document's canonical JSON; equal documents have equal digests."""
    return hashlib.sha256(json.dumps(definition, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def keep(session: Session, definitions: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Store those documents that are not there yet; return the row number of each by its digest."""
    documents = {digest(definition): dict(definition) for definition in definitions}
    numbers: dict[str, int] = {}
    for chunk in chunks(documents):
        found = _numbers(session, chunk)
        missing = [{"digest": key, "body": documents[key]} for key in chunk if key not in found]
        if missing:
            session.execute(insert_into(session, DEFINITION).on_conflict_do_nothing(), missing)
            found = _numbers(session, chunk)
        numbers |= found
    return numbers


def _numbers(session: Session, digests: Iterable[str]) -> dict[str, int]:
    query = select(DEFINITION.c.digest, DEFINITION.c.id).where(DEFINITION.c.digest.in_(digests))
    return dict(session.execute(query).tuples().all())
