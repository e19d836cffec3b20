"""Which Arrow types a Salesforce field takes: one table, by describe's word for the field's type. Pure.

Sources: "Valid Date Format in Records" and "Valid CSV Record Rows" of the Bulk API guide; refusals of real orgs, such
as ``'2018-09-28' is not a valid value for the type xsd:dateTime`` (SFDO-Tooling/Snowfakery issue 793). So a date goes
into no datetime field. A timestamp goes into no date field: Salesforce refuses it, or takes the day of UTC without a
word, which may be the day before or after the one that was meant.
"""

import re
from collections.abc import Iterator, Mapping
from enum import Enum

from exporter.targets.salesforce.fields import Field


class Fit(Enum):
    """Whether a column's cells can go into a field."""

    ALL = "yes"
    """All of them, as far as describe tells."""
    SOME = "by cell"
    """That depends on each cell: see :mod:`exporter.targets.salesforce.preparation.cell_check`."""
    NONE = "no"
    """None of them: a configuration fault."""


KINDS: Mapping[str, str] = {
    "boolean": "boolean",
    "int": "int",
    "long": "int",
    "double": "number",
    "currency": "number",
    "percent": "number",
    "date": "date",
    "datetime": "datetime",
    "time": "time",
    "id": "id",
    "reference": "id",
    "picklist": "picklist",
    "multipicklist": "picklist",
    "base64": "base64",
    **dict.fromkeys(("address", "location", "complexvalue"), "compound"),
    **dict.fromkeys(("string", "textarea", "phone", "url", "email", "encryptedstring", "combobox"), "text"),
}
"""Describe's types by what they take. A type that is not here, of a later release, takes what Salesforce says."""
FAMILIES = (
    ("boolean", re.compile(r"bool")),
    ("integer", re.compile(r"u?int\d")),
    ("float", re.compile(r"float|double|halffloat")),
    ("decimal", re.compile(r"decimal\d*\(\d+, *[1-9]\d*\)")),
    ("integer", re.compile(r"decimal")),
    ("date", re.compile(r"date\d")),
    ("timestamp", re.compile(r"timestamp")),
    ("time", re.compile(r"time\d")),
    ("uuid", re.compile(r"extension<arrow\.uuid")),
    ("binary", re.compile(r"(?:large_|fixed_size_)?binary")),
    ("nested", re.compile(r"(?:large_|fixed_size_)?list|struct|map|union|sparse_union|dense_union")),
    ("null", re.compile(r"null")),
)
"""What begins the name of an Arrow type, by what its cells are; the rest is text."""
_DICTIONARY = re.compile(r"dictionary<values=(?P<values>.*), indices=")
_YES, _BY_CELL, _NO = Fit.ALL, Fit.SOME, Fit.NONE
FITS: Mapping[str, Mapping[str, Fit]] = {
    "boolean": {"boolean": _YES, "text": _BY_CELL, "picklist": _BY_CELL, "base64": _NO}
    | dict.fromkeys(("int", "number", "date", "datetime", "time", "id"), _NO),
    "integer": {"boolean": _BY_CELL, "int": _BY_CELL, "number": _BY_CELL, "text": _BY_CELL, "picklist": _BY_CELL}
    | dict.fromkeys(("date", "datetime", "time", "id", "base64"), _NO),
    "float": {"boolean": _BY_CELL, "int": _BY_CELL, "number": _BY_CELL, "text": _BY_CELL, "picklist": _BY_CELL}
    | dict.fromkeys(("date", "datetime", "time", "id", "base64"), _NO),
    "decimal": {"number": _BY_CELL, "text": _BY_CELL, "picklist": _BY_CELL}
    | dict.fromkeys(("boolean", "int", "date", "datetime", "time", "id", "base64"), _NO),
    "date": {"date": _YES, "text": _BY_CELL, "picklist": _BY_CELL}
    | dict.fromkeys(("boolean", "int", "number", "datetime", "time", "id", "base64"), _NO),
    "timestamp": {"datetime": _YES, "text": _BY_CELL, "picklist": _BY_CELL}
    | dict.fromkeys(("boolean", "int", "number", "date", "time", "id", "base64"), _NO),
    "time": {"time": _YES, "text": _BY_CELL, "picklist": _BY_CELL}
    | dict.fromkeys(("boolean", "int", "number", "date", "datetime", "id", "base64"), _NO),
    "uuid": {"text": _BY_CELL, "picklist": _BY_CELL}
    | dict.fromkeys(("boolean", "int", "number", "date", "datetime", "time", "id", "base64"), _NO),
    "binary": {"text": _BY_CELL, "picklist": _BY_CELL, "base64": _YES}
    | dict.fromkeys(("boolean", "int", "number", "date", "datetime", "time", "id"), _NO),
    "text": {"base64": _YES}
    | dict.fromkeys(
        ("boolean", "int", "number", "date", "datetime", "time", "id", "text", "picklist"), _BY_CELL
    ),
    "null": dict.fromkeys(
        ("boolean", "int", "number", "date", "datetime", "time", "id", "text", "picklist", "base64"), _YES
    ),
}  # fmt: skip
"""By family of the column and kind of the field. Compound fields take nothing, nested columns go nowhere."""
_WRITE: Mapping[tuple[str, str], str] = {
    ("timestamp", "date"): "cast({column} as date)",
    ("date", "datetime"): "cast({column} as timestamp)",
    ("decimal", "int"): "cast({column} as bigint)",
    ("decimal", "boolean"): "{column} <> 0",
    ("boolean", "int"): "case when {column} then 1 else 0 end",
    ("boolean", "number"): "case when {column} then 1 else 0 end",
    ("timestamp", "time"): "cast({column} as time)",
}
"""What to write in the query instead, in the SQL that all sources know."""


def family(arrow_type: str) -> str:
    """Return what the cells of a column are, by the name of its Arrow type: a word of :data:`FITS`, or ``nested``."""
    match = _DICTIONARY.match(arrow_type)
    name = match["values"] if match else arrow_type
    return next((word for word, pattern in FAMILIES if pattern.match(name)), "text")


def fit(arrow_type: str, field: Field) -> Fit:
    """Return whether a column's cells can go into a field."""
    kind, found = KINDS.get(field.type), family(arrow_type)
    if kind == "compound" or found == "nested":
        return Fit.NONE
    return Fit.SOME if kind is None else FITS[found][kind]


def type_faults(column: str, arrow_type: str, field: Field) -> Iterator[str]:
    """Yield what is wrong with the type of a column for a field, and what to write in the query instead.

    Of a compound field it says nothing: nobody can write one, whatever the column is.
    """
    kind, found = KINDS.get(field.type), family(arrow_type)
    if found == "nested":
        yield f"{column} is a {arrow_type.partition('<')[0]}: make it text in the query"
    elif kind != "compound" and fit(arrow_type, field) is Fit.NONE:
        word = _WORDS.get(found, found)
        said = f"{column} is a {word} ({arrow_type}), and the field {field.name} is of type {field.type}"
        instead = _WRITE.get((found, kind or ""))
        quoted = f'"{column}"' if "." in column else column
        yield f"{said}: write {instead.format(column=quoted)} in the query" if instead else said


_WORDS = {"integer": "number", "float": "number", "decimal": "decimal number"}
