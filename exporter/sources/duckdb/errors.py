"""What DuckDB's errors ask for.

Every error text of DuckDB begins with the name of its class (``Catalog Error: …``), as an exception of its own and as
the OSError that Arrow makes of an error in the middle of a result. So the text decides, not the Python type.
"""

import re
from typing import NamedTuple

from exporter.failures import ExportError, FailureKind
from exporter.sources.duckdb.error_words import without_values

_TITLE = re.compile(r"\s*([A-Za-z ]+ Error):\s*")
_HINT = re.compile(r"(?:Did you mean|Candidate)")
_OF_THE_QUERY = frozenset(
    {
        *("Catalog Error", "Binder Error", "Parser Error", "Permission Error", "Connection Error", "Dependency Error"),
        *("IO Error", "HTTP Error", "Out of Memory Error", "TransactionContext Error", "FATAL Error", "INTERNAL Error"),
    }
)
"""What quotes the query, names and files. All others may be raised while rows are computed, and quote these."""
_QUERY_CANCELED = "QUERY_CANCELED"
OUT_OF_MEMORY = "OUT_OF_MEMORY"
"""The code of a query that needs more memory than the engine may take."""
_UNTITLED = ""
_ANY = "*"


class _Rule(NamedTuple):
    """The first rule whose title and word both fit decides; an empty word fits everything."""

    title: str
    word: str
    kind: FailureKind
    code: str = ""


_RULES = (
    _Rule("INTERRUPT Error", "", FailureKind.TRANSIENT, _QUERY_CANCELED),
    _Rule("TransactionContext Error", "read-only mode", FailureKind.CONFIGURATION, "QUERY_WRITES"),
    _Rule("Invalid Input Error", "attached in read-only mode", FailureKind.CONFIGURATION, "QUERY_WRITES"),
    _Rule("TransactionContext Error", "", FailureKind.TRANSIENT),
    _Rule("IO Error", "No files found", FailureKind.CONFIGURATION),
    _Rule("IO Error", "does not exist", FailureKind.CONFIGURATION),
    _Rule("IO Error", "not a valid DuckDB database", FailureKind.CONFIGURATION),
    _Rule("IO Error", "Is a directory", FailureKind.CONFIGURATION),
    _Rule("IO Error", "No such file", FailureKind.CONFIGURATION),
    _Rule("IO Error", "Permission denied", FailureKind.CONFIGURATION),
    _Rule("IO Error", "", FailureKind.TRANSIENT),
    _Rule("HTTP Error", "", FailureKind.TRANSIENT),
    # Runs that read the same file at once share one engine and its memory: later there may be enough of it.
    _Rule("Out of Memory Error", "", FailureKind.TRANSIENT, OUT_OF_MEMORY),
    _Rule("FATAL Error", "", FailureKind.INTERNAL),
    _Rule("INTERNAL Error", "", FailureKind.INTERNAL),
    _Rule(_UNTITLED, "requires the extension", FailureKind.CONFIGURATION, "EXTENSION_MISSING"),
    _Rule(_UNTITLED, "", FailureKind.INTERNAL, "DUCKDB_ERROR"),
    _Rule(_ANY, "", FailureKind.CONFIGURATION),
)


def query_canceled() -> ExportError:
    """Make the error that a reader gets once its query was canceled."""
    return ExportError(FailureKind.TRANSIENT, _QUERY_CANCELED, "The query was canceled")


def duckdb_fault(error: BaseException) -> ExportError:
    """Return the ExportError for an error of DuckDB, with its code (``CATALOG_ERROR``) and its own advice in one line.

    What DuckDB quotes of a row (the value that did not convert, the line of a CSV file) is left out: a message ends in
    logs and notices. What it may quote, too: see :mod:`exporter.sources.duckdb.error_words`.
    """
    text = str(error)
    match = _TITLE.match(text)
    title = match[1] if match else _UNTITLED
    rule = next(rule for rule in _RULES if rule.title in {title, _ANY} and rule.word in text)
    if rule.code == _QUERY_CANCELED:
        return query_canceled()
    code = rule.code or title.upper().replace(" ", "_")
    words = text[match.end() if match else 0 :]
    if title not in _OF_THE_QUERY | {_UNTITLED} and not rule.code:
        return ExportError(rule.kind, code, without_values(words))
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    kept = lines[:1] + [line for line in lines[1:] if _HINT.match(line)]
    message = ". ".join(line.rstrip(".!") for line in kept) or type(error).__name__
    return ExportError(rule.kind, code, message)
