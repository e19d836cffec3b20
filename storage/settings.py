"""Small facts by key, such as the version of the time zone data or the state of the config file."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.models import table
from storage.statements import insert_into

_SETTING = table("setting")


def get(session: Session, key: str) -> str | None:
    """Return the value, if the key is set."""
    return session.execute(select(_SETTING.c.value).where(_SETTING.c.key == key)).scalar()


def put(session: Session, key: str, value: str) -> None:
    """Set the key to the value."""
    statement = insert_into(session, _SETTING).values(key=key, value=value)
    session.execute(statement.on_conflict_do_update(index_elements=["key"], set_={"value": value}))
