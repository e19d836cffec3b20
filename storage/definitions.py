"""Definitions of jobs, kept once each however many runs and changes refer to them. They are opaque documents here."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.engine.dialect_sql import chunks, insert_into
from storage.models import table

DEFINITION = table("definition")


def digest(definition: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the document's canonical JSON; equal documents have equal digests."""
    canonical = json.dumps(definition, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def keep(session: Session, documents: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """Store those documents, given by digest, that are not there yet; return the row number of each by digest."""
    numbers: dict[str, int] = {}
    for chunk in chunks(documents):
        found = _numbers(session, chunk)
        missing = [{"digest": key, "body": dict(documents[key])} for key in chunk if key not in found]
        if missing:
            session.execute(insert_into(session, DEFINITION).on_conflict_do_nothing(), missing)
            found = _numbers(session, chunk)
        numbers |= found
    return numbers


def documents_of(session: Session, numbers: Iterable[int]) -> dict[int, dict[str, Any]]:
    """Return those documents by the row numbers that :func:`keep` gave them."""
    documents: dict[int, dict[str, Any]] = {}
    for chunk in chunks(sorted(numbers)):
        query = select(DEFINITION.c.id, DEFINITION.c.body).where(DEFINITION.c.id.in_(chunk))
        documents |= {row.id: row.body for row in session.execute(query)}
    return documents


def _numbers(session: Session, digests: Iterable[str]) -> dict[str, int]:
    query = select(DEFINITION.c.digest, DEFINITION.c.id).where(DEFINITION.c.digest.in_(digests))
    return {row.digest: row.id for row in session.execute(query)}
