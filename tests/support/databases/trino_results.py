"""What the test's Trino makes of queries (by DuckDB, with Trino's types and values as its protocol writes them)."""

import re
from typing import Any

_NAMES = {
    "float": "real",
    "hugeint": "decimal(38,0)",
    "ubigint": "decimal(20,0)",
    "uinteger": "bigint",
    "blob": "varbinary",
    "time": "time(6)",
    "timestamp": "timestamp(6)",
    "timestamp_s": "timestamp(0)",
    "timestamp_ms": "timestamp(3)",
    "timestamp_ns": "timestamp(9)",
    "timestamp with time zone": "timestamp(6) with time zone",
    "interval": "interval day to second",
    '"null"': "unknown",
}
_DIGITS = {"timestamp": "%f", "timestamp_ns": "%n", "timestamp_ms": "%g"}


class Pages:
    """The pages of one query: ``columns`` as the protocol describes them, and rows in pages of JSON."""

    def __init__(self, cursor: Any, sql: str, page_rows: int) -> None:
        cursor.execute("set TimeZone = 'UTC'")
        sql = re.sub(r"TIMESTAMP ('[^']*) UTC'", r"TIMESTAMPTZ \1+00'", sql)
        sql = re.sub(r"DECIMAL '([\d.-]+)'", r"\1", sql)
        relation = cursor.sql(sql)
        self.columns: list[dict[str, Any]] = []
        self._pages: Any = iter(())
        if relation is None:
            return
        kinds = relation.types
        self.columns = [column(name, _name(kind)) for name, kind in zip(relation.columns, kinds, strict=True)]
        aliases = [f"c{number}" for number in range(len(kinds))]
        parts = ", ".join(_shown(alias, kind) for alias, kind in zip(aliases, kinds, strict=True))
        rows = f"select concat_ws(',', {parts}) as r from ({sql.rstrip().rstrip(';')}\n) as t({', '.join(aliases)})"  # noqa: S608 - the test's own query
        self._pages = iter(cursor.sql(rows).to_arrow_reader(page_rows))
        self._next: Any = None

    def next_page(self) -> tuple[str, bool]:
        """Return the rows of the next page, and whether it is the last."""
        batch = next(self._pages, None)
        if batch is None:
            return "", True
        return f"[[{'],['.join(batch.column(0).to_pylist())}]]", False


def column(name: str, kind: str) -> dict[str, Any]:
    """Return a column as the protocol describes it."""
    return {"name": name, "type": kind, "typeSignature": _signature(kind)}


def _signature(kind: str) -> dict[str, Any]:
    raw, _, rest = kind.partition("(")
    inside, _, tail = rest.rpartition(")")
    arguments: list[dict[str, Any]] = []
    if raw in ("array", "map"):
        arguments = [{"kind": "TYPE", "value": _signature(part.strip())} for part in split(inside)]
    elif raw == "row":
        arguments = [{"kind": "NAMED_TYPE", "value": _named(part)} for part in split(inside)]
    else:
        arguments = [{"kind": "LONG", "value": int(part)} for part in split(inside)]
    if raw == "varchar" and not arguments:
        arguments = [{"kind": "LONG", "value": 2**31 - 1}]
    return {"rawType": f"{raw}{tail}", "arguments": arguments}


def _named(field: str) -> dict[str, Any]:
    match = re.match(r'\s*("(?:[^"]|"")*"|\w+) +(?!with time)(.+)', field)
    name = {"fieldName": {"name": match[1].strip('"')}} if match else {}
    return {**name, "typeSignature": _signature((match[2] if match else field).strip())}


def split(text: str) -> list[str]:
    """Split at the commas that stand in no quotes and no parentheses."""
    parts, depth, quote, start = [], 0, "", 0
    for position, letter in enumerate(text):
        if quote or letter in "'\"":
            quote = "" if letter == quote else quote or letter
        else:
            depth += (letter in "([") - (letter in ")]")
            if letter == "," and depth == 0:
                parts.append(text[start:position])
                start = position + 1
    return [part.strip() for part in [*parts, text[start:]] if part.strip()]


def _name(kind: Any) -> str:
    match kind.id:
        case "list" | "array":
            return f"array({_name(kind.children[0][1])})"
        case "map":
            return f"map({', '.join(_name(child) for _, child in kind.children)})"
        case "struct":
            return f"row({', '.join(f'{_quoted(name)} {_name(child)}' for name, child in kind.children)})"
        case "enum" | "varchar":
            return "varchar"
    text = str(kind).lower()
    return _NAMES.get(text, text)


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[a-z]\w*", name) else f'"{name}"'


def _shown(value: str, kind: Any) -> str:
    """Return the SQL that writes a value as JSON, as Trino does: decimals and times as text, bytes in base64."""
    return f"coalesce({_json(value, kind)}, 'null')"


def _json(value: str, kind: Any) -> str:  # noqa: PLR0911 - one for each type
    text = str(kind).lower()
    match kind.id:
        case "list" | "array":
            inner = _shown("x", kind.children[0][1])
            return f"'[' || array_to_string(list_transform({value}, lambda x: {inner}), ',') || ']'"
        case "struct":
            fields = ", ".join(_shown(f'{value}."{name}"', child) for name, child in kind.children)
            return f"case when {value} is not null then '[' || concat_ws(',', {fields}) || ']' end"
        case "blob":
            return f"'\"' || base64({value}) || '\"'"
        case "float" | "double":
            return f"case when isfinite({value}) then {value}::varchar else '\"' || {value}::varchar || '\"' end"
        case "boolean" | "tinyint" | "smallint" | "integer" | "bigint" | "uinteger":
            return f"{value}::varchar"
    if text in _DIGITS:
        return f"'\"' || strftime({value}, '%Y-%m-%d %H:%M:%S.{_DIGITS[text]}') || '\"'"
    if text == "timestamp with time zone":
        return f"'\"' || strftime({value}, '%Y-%m-%d %H:%M:%S.%f UTC') || '\"'"
    if kind.id in ("varchar", "enum", "map"):
        return f"to_json({value})::varchar"
    return f"'\"' || {value}::varchar || '\"'"
