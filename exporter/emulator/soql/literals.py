"""The values of a SOQL query's conditions: literals of the field's type, and spans of days by name. Pure."""

from datetime import UTC, datetime, timedelta

from exporter.emulator.http import RefusalError
from exporter.emulator.org.field_values import write_datetime
from exporter.emulator.org.ids import normal_id
from exporter.emulator.org.schema import NUMBER_TYPES, Field
from exporter.emulator.soql.tree import Comparison, Literal

_COUNT_DIGITS = 6
_KINDS = {
    **dict.fromkeys(NUMBER_TYPES, "number"),
    "boolean": "boolean",
    "date": "date",
    "datetime": "datetime",
}


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise RefusalError(400, "MALFORMED_QUERY", f"'{text}' is no date") from error


def bound_value(found: Field, value: Literal) -> object:
    """Return what to bind for a literal. Raises RefusalError if it is of another type than the field."""
    wanted = _KINDS.get(found.type, "string")
    if value.kind == "null":
        return None
    if value.kind != wanted:
        message = (
            f"value of filter criterion for field '{found.name}' must be of type {found.type} "
            f"and should {'' if wanted == 'string' else 'not '}be enclosed in quotes"
        )
        raise RefusalError(400, "INVALID_FIELD", message)
    match value.kind:
        case "number":
            return float(value.text) if "." in value.text or "e" in value.text.lower() else int(value.text)
        case "boolean":
            return int(value.text == "true")
        case "datetime":
            return write_datetime(_moment(value.text))
    return (normal_id(value.text) or value.text) if found.type in {"id", "reference"} else value.text


def compare_days(sql: str, found: Field, condition: Comparison, now: datetime) -> tuple[str, list[str]]:
    """Return the SQL that compares a column with TODAY and the like, in UTC, and what to bind. Raises RefusalError."""
    words, operator = condition.value.text, condition.operator
    if found.type not in {"date", "datetime"}:
        raise RefusalError(400, "INVALID_FIELD", f"{words} is no value for field '{found.name}'")
    start, end = _span(words, now)
    if found.type == "datetime":
        low, high = write_datetime(start), write_datetime(end)
    else:
        low, high = start.date().isoformat(), end.date().isoformat()
    forms = {
        "=": (f"({sql} >= ? AND {sql} < ?)", [low, high]),
        "!=": (f"({sql} < ? OR {sql} >= ? OR {sql} IS NULL)", [low, high]),
        "<": (f"{sql} < ?", [low]),
        ">=": (f"{sql} >= ?", [low]),
        ">": (f"{sql} >= ?", [high]),
        "<=": (f"{sql} < ?", [high]),
    }
    if operator not in forms:
        raise RefusalError(400, "MALFORMED_QUERY", f"{words} cannot be compared by LIKE")
    return forms[operator]


def _span(words: str, now: datetime) -> tuple[datetime, datetime]:
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    day = timedelta(days=1)
    name, _, count = words.partition(":")
    spans = {
        "TODAY": (today, today + day),
        "YESTERDAY": (today - day, today),
        "TOMORROW": (today + day, today + 2 * day),
    }
    if name in spans and not count:
        return spans[name]
    if name in {"LAST_N_DAYS", "NEXT_N_DAYS"} and count.isdecimal() and len(count) < _COUNT_DIGITS:
        span = int(count) * day
        return (today - span, today + day) if name == "LAST_N_DAYS" else (today + day, today + day + span)
    raise RefusalError(400, "MALFORMED_QUERY", f"unexpected token: '{words}'")
