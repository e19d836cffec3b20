"""What DuckDB says while it computes rows, without the values that it says it of. Pure.

A value may hold anything, quotes and lines included, and some functions let it be the whole message (``error(v)``). So
only what has a form that is known here is shown, with the places of values emptied; of all else nothing is.
"""

import re

UNTOLD = "DuckDB's own words are left out, as they may quote a row: run the query in DuckDB to see them"

_PLACE = re.compile(r"\n\nLINE \d+: [^\n]*\n[ ^~]*\Z")
"""The line of the query, which stands below the words."""
_TYPE = r"[A-Z][A-Z0-9_ ]*(?:\([^\n]*\))?(?:\[\d*\])*"
_VALUE = r"""(?:'.*'|".*")"""
_FILE = r"""(?P<file>"[^"\n]*"|'[^'\n]*')"""
_COLUMN = r"(?P<column> when casting from source column [^\n]*)?"

_FORMS = [
    (
        rf"Could not convert string {_VALUE} to (?P<to>'?{_TYPE}'?){_COLUMN}",
        r"Could not convert string '…' to \g<to>\g<column>",
    ),
    (
        (
            rf"Type (?P<type>{_TYPE}) with value .* can't be cast because the value is out of range for the "
            rf"destination type (?P<to>{_TYPE}){_COLUMN}"
        ),
        r"A value of type \g<type> is out of range for \g<to>\g<column>",
    ),
    (
        (
            rf"Type (?P<type>{_TYPE}) with value {_VALUE} can't be cast to the destination type (?P<to>{_TYPE})"
            rf"(?P<why>, the size of the array must match the destination type)?{_COLUMN}"
        ),
        r"Type \g<type> with value '…' can't be cast to the destination type \g<to>\g<why>\g<column>",
    ),
    (rf"Could not cast value .* to (?P<to>{_TYPE}){_COLUMN}", r"Could not cast value … to \g<to>\g<column>"),
    (
        rf"Casting value .* to type (?P<to>{_TYPE}) failed: value is out of range!?{_COLUMN}",
        r"Casting a value to type \g<to> failed: value is out of range\g<column>",
    ),
    (rf"(?P<all>Unimplemented type for cast \({_TYPE} -> {_TYPE}\){_COLUMN})", r"\g<all>"),
    (
        (
            rf"(?P<what>(?:invalid )?(?:date|time|timestamp) field (?:format|value out of range)): {_VALUE}"
            rf"(?P<form>, expected format is \([][YMDHSUZONE:.| ()±-]*\))?{_COLUMN}"
        ),
        r"\g<what>: '…'\g<form>\g<column>",
    ),
    (rf"Overflow in (?P<what>[a-z ]+) of (?P<type>{_TYPE}) \(.*\)!?", r"Overflow in \g<what> of \g<type> (…)"),
    (r"Division by zero in expression .*", "Division by zero"),
    (
        r"(?P<what>Malformed JSON at byte \d+ of input: [a-z ,]+)\.\s+Input: .*",
        r"\g<what>",
    ),
    (
        rf"(?P<what>Malformed JSON in file {_FILE}, at byte \d+ in (?:line|record/value) \d+: [a-z ,]+)\..*",
        r"\g<what>",
    ),
    (
        rf"(?P<what>JSON transform error in file {_FILE}, in (?:line|record/value) \d+): .*",
        r"\g<what>: a value does not fit its type",
    ),
    (
        (
            rf"(?P<line>CSV Error on Line: \d+)\n.*^(?P<column>Error when converting column \"[^\n]*?\")\. "
            rf"Could not convert string {_VALUE} to (?P<to>'[^'\n]*')\n.*"
        ),
        r"\g<line>. \g<column>. Could not convert string '…' to \g<to>",
    ),
    (
        r"(?P<line>CSV Error on Line: \d+)\n.*^(?P<count>Expected Number of Columns: \d+ Found: \d+)\n.*",
        r"\g<line>. \g<count>",
    ),
    (r"(?P<line>CSV Error on Line: \d+)\n.*", r"\g<line>"),
    (rf"(?P<all>Error when sniffing file {_FILE})\..*", r"\g<all>"),
    (rf"(?P<all>No magic bytes found at end of file {_FILE})", r"\g<all>"),
    (
        r"Could not parse string .* according to format specifier .*",
        "Could not parse a string according to its format specifier",
    ),
    (r"(?P<what>Date|Time|Timestamp) out of range: .*", r"\g<what> out of range"),
    (r"extract specifier .* not recognized", "extract specifier '…' not recognized"),
    (r"Unknown TimeZone .*", "Unknown TimeZone '…'"),
    (r"(?P<all>More than one row returned by a subquery used as an expression)\b.*", r"\g<all>"),
    (r"(?P<all>Map keys must be unique)\W*", r"\g<all>"),
]
_KNOWN = [(re.compile(form, re.DOTALL | re.MULTILINE), shown) for form, shown in _FORMS]


def without_values(words: str) -> str:
    """Return what a message (without its title) says but for the values in it; :data:`UNTOLD` if it is none we know."""
    words = _PLACE.sub("", words).strip()
    for form, shown in _KNOWN:
        if match := form.fullmatch(words):
            return match.expand(shown)
    return UNTOLD
