"""What the test's Treasure Data makes of queries (by DuckDB, with Trino's types and values) and of forms."""

import gzip
import io
import re
import urllib.parse
from datetime import datetime
from decimal import Decimal
from email import message_from_bytes
from typing import Any

import msgpack

_FETCHED = 5000


def run(cursor: Any, sql: str) -> tuple[list[list[str]], bytes, int]:
    """Run a query and return its columns with Trino's types, its rows as ``msgpack.gz``, and how many they are."""
    cursor.execute("set TimeZone = 'UTC'")
    sql = re.sub(r"TIMESTAMP ('[^']*) UTC'", r"TIMESTAMPTZ \1+00'", sql)
    relation = cursor.execute(sql)
    columns = [[column[0], trino_type(str(column[1]))] for column in relation.description]
    zoned = [name for name, kind in columns if kind.endswith("with time zone")]
    if zoned:  # DuckDB's Python values of them need a library that we do without
        texts = ", ".join(f"""strftime("{name}", '%Y-%m-%d %H:%M:%S.%f UTC') as "{name}\"""" for name in zoned)
        relation = cursor.execute(f"select * replace ({texts}) from ({sql})")  # noqa: S608 - the test's own query
    buffer = io.BytesIO()
    packer = msgpack.Packer(default=_plain)
    records = 0
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=1) as zipped:
        while rows := relation.fetchmany(_FETCHED):
            records += len(rows)
            zipped.write(b"".join(packer.pack([_plain(value) for value in row]) for row in rows))
    return columns, buffer.getvalue(), records


def trino_type(kind: str) -> str:
    """Return Trino's name of a type of DuckDB's."""
    plain = {
        "HUGEINT": "decimal(38,0)",
        "TIMESTAMP": "timestamp(6)",
        "FLOAT": "real",
        "BLOB": "varbinary",
        '"NULL"': "unknown",
    }
    plain["TIMESTAMP WITH TIME ZONE"] = "timestamp(6) with time zone"
    if kind.endswith("[]"):
        return f"array({trino_type(kind[:-2])})"
    if kind.startswith("MAP"):
        return "map(varchar,bigint)"
    return plain.get(kind, kind.lower())


def _plain(value: Any) -> Any:
    """Return a value as a result holds it: decimals and times as text."""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S.%f}"
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return str(value)
    return value if isinstance(value, int | float | str | bytes | list | dict | None) else _text(value)


def _text(value: Any) -> str:
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def form_of(content_type: str, body: bytes) -> dict[str, str]:
    """Return the fields of a form, as the official client sends it (multipart) and as the API's description has it."""
    if content_type.startswith("multipart/form-data"):
        message = message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
        fields = {}
        for part in message.walk():
            name = part.get_param("name", header="content-disposition")
            if name is not None:
                content = part.get_payload(decode=True)
                assert isinstance(content, bytes)
                fields[str(name)] = content.decode()
        return fields
    return dict(urllib.parse.parse_qsl(body.decode(), keep_blank_values=True))
