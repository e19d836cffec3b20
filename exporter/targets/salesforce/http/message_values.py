"""Salesforce's messages without what they quote of a row: the one gate to logs, failures, notices and counts. Pure.

The full message belongs to the rejected row alone. A message of a known form keeps its words, and ``…`` stands for the
value. Of any other, which an administrator or a trigger's author may have written, all goes that could be a value: the
row's own cells, what is in quotes, addresses, Ids and numbers.
"""

import re
from collections.abc import Iterable

_LABEL = r"(?:[^:]{1,80}: )?"
_FORMS = tuple(
    (re.compile(form, re.DOTALL | re.IGNORECASE), shown)
    for form, shown in (
        # With the value at the end, or in the middle.
        (rf"({_LABEL}(?:invalid email address|bad value for restricted picklist field): ).*", r"\1…"),
        (rf"({_LABEL}(?:id value of incorrect type|value not of required type): ).*", r"\1…"),
        (rf"({_LABEL}value outside of valid range on numeric field: ).*", r"\1…"),
        (rf"({_LABEL}data value too large: ).*( \(max length=\d+\))", r"\1…\2"),
        (rf"({_LABEL}this ID value isn.t valid for the user: ).*", r"\1…"),
        (rf"({_LABEL}more than one record found for external id field: ).*", r"\1…"),
        (r"(Foreign key external ID: ).*( not found for field [\w.]+ in entity \w+)", r"\1…\2"),
        (
            r"(Failed to deserialize field at col \d+\. Due to, ).*( is not a valid value for the type xsd:\w+)",
            r"\1…\2",
        ),
        (r"(Failed to deserialize field at col \d+\. Due to, ).*", r"\1…"),
        (r"(duplicate value found: [\w.<>]+ duplicates value on record with id: ).*", r"\1…"),
        (r"(Duplicate external id specified: ).*", r"\1…"),
        (r"(Maximum number of duplicate updates in one batch .*more than once in this Api call: ).*", r"\1…"),
        (r"(malformed id |bad id |invalid ID field: |invalid id:? |unexpected token: )\S.*", r"\1…"),
        (r"(unable to obtain exclusive access to this record)(?: or \d+ records)?(?:: .*)?", r"\1"),
        (r"(insufficient access rights on (?:cross-reference id|object id))(?:: .*)?", r"\1"),
        (r"(Your attempt to delete ).*( could not be completed because ).*", r"\1…\2…"),
        (r"(operation performed with inactive user \[).*(\] as owner of \w+)", r"\1…\2"),
        (r"(value of filter criterion for field '\w+' must be of type \w+).*", r"\1"),
        # Without one: names of fields, objects and features only.
        (r"(Required fields are missing: \[[\w, .]*\])", r"\1"),
        (r"(Unable to create/update fields: [\w, .]+?\. Please check the security settings.*)", r"\1"),
        (r"(No such column '[\w.]+' on (?:sobject of type|entity) '?\w+'?)(?:\..*)?", r"\1"),
        (r"(Field name not found : [\w.:]+)", r"\1"),
        (r"(type is (?:not )?needed for (?:non )?polymorphic.*)", r"\1"),
        (r"(sObject type '\w+' is not supported.*|Entity '\w+' is not supported.*)", r"\1"),
        (r"(Too many lock failures? ?\d* ?(?:while processing the current batch|Trying again later)?\.*)", r"\1"),
        (r"(\d+ records have this \w+|\w+ not specified(?: in an update call)?)", r"\1"),
    )
)
"""Messages whose whole text is known, and what is shown of them; of those that fit, the first counts."""

ECHO = "ERROR at Row:"
"""What follows the query that an error repeats before it says what is wrong."""
_ECHO = re.compile(rf"^.*{ECHO}\d+:Column:\d+ ?", re.DOTALL)

_STEPS = re.compile(
    r"(?P<where>^[\w.]+: execution of \w+)"
    r"|(?P<cause>caused by: [\w.]+Exception)"
    r"|(?P<dml>(?:Insert|Update|Upsert|Delete|Undelete) failed)"
    r"|(?P<lock>unable to obtain exclusive access|Record Currently Unavailable)"
    r"|(?:first error:|error occurred[^:]{0,60}:) ?(?P<code>[A-Z][A-Z0-9_]{4,})\b"
)
"""The parts of a trigger's or a flow's message that its author did not write."""

_QUOTED = re.compile(r"(?<!\w)'[^']*'(?!\w)|\"[^\"]*\"|\u201c[^\u201d]*\u201d|\u2018[^\u2019]*\u2019(?!\w)")
_ADDRESS = re.compile(r"[^\s(<\[]+@[^\s,)>\]]+|\w+://\S+")
_ID = re.compile(r"\b(?=[a-zA-Z0-9]*[0-9])[a-zA-Z0-9]{15}(?:[a-zA-Z0-9]{3})?\b")
_NUMBER = re.compile(r"(?<![\w.])[+-]?\d[\d.,:/-]*(?!\w)")
_SHORTEST_VALUE = 2
"""A shorter cell stands in every other word."""


def without_values(message: str, values: Iterable[str | None] = ()) -> str:
    """Return a message without what it quotes of a row, whose cells are ``values``."""
    text = _ECHO.sub("", " ".join(message.split()))
    for form, shown in _FORMS:
        if (found := form.fullmatch(text)) is not None:
            return found.expand(shown)
    if (steps := _steps(text)) is not None:
        return steps
    cells = {" ".join(value.split()).lower() for value in values if value}
    for cell in sorted((cell for cell in cells if len(cell) >= _SHORTEST_VALUE), key=len, reverse=True):
        if cell in text.lower():
            text = re.sub(rf"(?<!\w){re.escape(cell)}(?!\w)", "…", text, flags=re.IGNORECASE)
    for pattern in (_QUOTED, _ADDRESS, _ID, _NUMBER):
        text = pattern.sub("…", text)
    return text


def _steps(text: str) -> str | None:
    """Return what a trigger's or a flow's message says of its course: where, what was thrown, and the codes in it."""
    found = list(_STEPS.finditer(text))
    if not any(step["where"] or step["code"] or step["lock"] for step in found):
        return None
    parts = [f"first error: {step['code']}" if step["code"] else step[0] for step in found]
    return " … ".join(dict.fromkeys(parts)) + " …"


def inner_codes(message: str) -> list[str]:
    """Return the codes that a trigger's or a flow's message wraps, the outermost first."""
    return [found["code"] for found in _STEPS.finditer(" ".join(message.split())) if found["code"]]
