"""Small facts by key, such as the version of the time zone data or the state of the config file."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.engine.dialect_sql import insert_into
from storage.models import table

_SETTING = table("setting")


def get(session: Session, key: str) -> str | None:
    """Return the value, if the key is set."""
    return session.execute(select(_SETTING.c.value).where(_SETTING.c.key == key)).scalar()


def database_id(session: Session) -> str:
    """Return what tells this state database, and its copies, from every other; made with its schema."""
    return get(session, "database_id") or ""


def beginning_with(session: Session, prefix: str) -> dict[str, str]:
    """Return the settings whose keys begin so."""
    query = select(_SETTING.c.key, _SETTING.c.value).where(_SETTING.c.key.startswith(prefix, autoescape=True))
    return {row.key: row.value for row in session.execute(query)}


def put(session: Session, key: str, value: str) -> None:
    """Set the key to the value."""
    statement = insert_into(session, _SETTING).values(key=key, value=value)
    session.execute(statement.on_conflict_do_update(index_elements=["key"], set_={"value": value}))
