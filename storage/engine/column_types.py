"""Column types that behave alike on SQLite and PostgreSQL: UTC times, clean text, large row numbers."""

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect, Integer, String, Text
from sqlalchemy.exc import DontWrapMixin
from sqlalchemy.types import TypeDecorator, TypeEngine

from storage.values import sqlite_time

ROW_ID = BigInteger().with_variant(Integer(), "sqlite")
"""A row number given by the database. SQLite gives numbers only to a column that is spelt INTEGER."""

_TEXT_LENGTH = len("2026-11-23T19:32:00.000000Z")


class NaiveTimeError(ValueError, DontWrapMixin):
    """A time without a zone was handed to the database. The mix-in keeps SQLAlchemy from wrapping it in its own."""


def utc(value: datetime) -> datetime:
    """Give the same instant in UTC, or raise :class:`NaiveTimeError`."""
    if value.utcoffset() is None:
        raise NaiveTimeError(f"{value!r} has no time zone: the database takes aware times only")
    return value.astimezone(UTC)


def to_json(document: object) -> str:
    """Write a document as JSON, or raise ValueError or TypeError for what is none, such as NaN."""
    return json.dumps(document, allow_nan=False)


class UtcDateTime(TypeDecorator[datetime]):
    """An instant: aware in, aware UTC out, to the microsecond; a naive time is refused.

    SQLite has no such type and forgets zones, so there it is text of one width, which sorts as the instants do.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose how the database at hand keeps it."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(String(_TEXT_LENGTH))
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> object:
        """Turn the time into what the database keeps, or raise :class:`NaiveTimeError`."""
        if value is None:
            return None
        instant = utc(value)
        if dialect.name == "sqlite":
            return sqlite_time(instant)
        return instant

    def process_result_value(self, value: datetime | str | None, dialect: Dialect) -> datetime | None:
        """Turn what the database kept into an aware UTC time."""
        del dialect
        if value is None:
            return None
        if isinstance(value, str):
            return datetime.fromisoformat(value)
        return value.astimezone(UTC)


class CleanText(TypeDecorator[str]):
    """Text from anywhere, such as another server's error message, made fit to be kept.

    PostgreSQL refuses NUL, and neither database takes half of a surrogate pair; both become U+FFFD rather than an
    error, because a message that cannot be stored would lose the outcome that it belongs to.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Replace what a database cannot keep."""
        del dialect
        if value is None:
            return None
        text = str(value).replace("\0", "\ufffd")
        try:
            text.encode()
        except UnicodeEncodeError:
            return "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in text)
        return text
