"""What the errors of ADBC drivers ask for. Pure.

The standard has 14 status codes, and drivers use them loosely: Sail calls an unknown column INTERNAL, and a refused
certificate is IO. So the code decides only where it is certain, and otherwise the words do.
"""

import re

from exporter.failures import ExportError, configuration, transient

_MENDABLE = frozenset(
    {"UNAUTHENTICATED", "UNAUTHORIZED", "INVALID_ARGUMENT", "NOT_FOUND", "INVALID_STATE", "INVALID_DATA", "INTEGRITY"}
    | {"ALREADY_EXISTS", "NOT_IMPLEMENTED"}
)
_PASSING = frozenset({"IO", "TIMEOUT", "CANCELLED"})
"""What may pass by itself; the others, INTERNAL and UNKNOWN, may be anything."""
_PASSING_STATES = ("08", "40", "53", "55", "57", "58")
"""Classes of SQLSTATE: connection, rollback, resources, object in use, operator intervention, system."""
_QUOTA = re.compile(r"too many (?:requests|connections)|rate ?limit|quota ?exceeded|throttl|error 429\b", re.IGNORECASE)
_NETWORK = re.compile(
    r"connection (?:refused|reset|closed|lost|error|timed out|attempt)|broken pipe|\bEOF\b|unavailable|timed?[ -]?out"
    r"|deadline exceeded|no route to host|network is|no such host|name resol|produced zero addresses|dial tcp"
    r"|transport|temporar|try again|resource ?exhausted|overloaded|shutting down|out of memory"
    r"|insufficient memory|stream terminated|server closed|stopped SparkContext"
    r"|not enough slots|database is locked|lock wait|obtain lock|deadlock",
    re.IGNORECASE,
)
_LASTING = re.compile(
    r"tls:|x509|certificate|unknown authority|authenticat(?:e|ion) failed|password|permission denied|access denied"
    r"|(?:un|not )authori[sz]ed|forbidden|\bjwt\b|invalid (?:user|account|token|credential|grant|authenticator|target)"
    r"|token (?:is |has )?(?:expired|invalid)|missing address|is empty|(?:unable|failed) to open|cannot open"
    r"|no such file|does not exist|not a database|error 40[0134]\b",
    re.IGNORECASE,
)
"""Words of a failed connection that only a person can fix."""
_HEAD = re.compile(r"^[A-Z_]+: |\[Flight ?SQL(?: Statement)?\] ")
_TAIL = re.compile(r" \(\w+; \w+(?:: [^()]*)?\)(?:\. Vendor code: -?\d+)?\s*$")
_STATE = re.compile(r"\bSQLSTATE: ?([0-9A-Z]{5})\b")
_STATE_AT_END = re.compile(r"\.? \.? ?SQLSTATE: ?[0-9A-Z]{5}\s*$")
_TRACE = re.compile(
    r"\s*(?:JVM stacktrace:|Traceback \(most recent call last\)|\n\s*LINE \d+: "
    r"|\n\s*(?:at )?[\w.$/]+\((?:\w+\.(?:java|scala)|Native Method)"
    r"|; line \d+ pos \d+;|== SQL\b).*",
    re.DOTALL,
)
"""Where the server's stack, its plan, or the query itself begins."""
_QUOTED = re.compile(r"(?<!\w)'(?P<single>[^\n]*?)'(?!\w)|\"(?P<double>[^\"\n]*)\"|`(?P<name>[^`\n]*)`")
_VALUE = re.compile(
    r"(?P<head>\b(?:value|values|input|string|number|literal|text|data|date|timestamp): *)(?P<tail>.+)$"
)
_SHORT = re.compile(r"(?P<head>: )(?P<tail>[^:\s]+(?: [^:\s]+)?)$")
_STRINGS = re.compile(r"'(?:[^']|'')*'")
_HINT = re.compile(r"(?:did you mean|candidate|suggest)[^.?!]*$", re.IGNORECASE)
_WITHOUT_ROWS = frozenset({"IO", "TIMEOUT", "UNAUTHENTICATED", "UNAUTHORIZED", "NOT_IMPLEMENTED"})
_SYNTAX = re.compile(r"syntax error|SQL parser", re.IGNORECASE)
"""Where a message holds nothing of a row: by its code, and by its words."""
_LONGEST = 500


def query_canceled() -> ExportError:
    """Make the error that a reader gets once its query was canceled."""
    return transient("QUERY_CANCELED", "The query was canceled")


def adbc_fault(*, status: str, text: str, sql: str, sqlstate: str | None = None) -> ExportError:
    """Return the ExportError for an error of a driver.

    ``status`` is the name of ADBC's code, empty for an error that came without one; ``sql`` is the query, empty where
    there is none yet. What the message quotes, and is no word of the query, may be a value of a row and is left out.
    """
    whole = _TRACE.sub("", text)
    while _HEAD.search(whole):
        whole = _HEAD.sub("", whole, count=1)
    whole = _STATE_AT_END.sub("", " ".join(_TAIL.sub("", whole).split())) or status
    told = _STATE.search(text)  # Spark writes it into its message
    state = (sqlstate or (told[1] if told else "")).strip("\0 ")
    state = "" if state == "00000" else state
    code = state or f"ADBC_{status or 'ERROR'}"
    if _passes(status, state, whole):
        return transient(code, _short(whole))
    harmless = not sql or status in _WITHOUT_ROWS or _SYNTAX.search(whole) is not None
    hidden = whole if harmless else _hide_values(whole, sql)
    return configuration(code, _short(hidden))


def _passes(status: str, sqlstate: str, text: str) -> bool:
    if _QUOTA.search(text):
        return True
    if status in _MENDABLE or _LASTING.search(text):
        return False
    if sqlstate:
        return sqlstate.startswith(_PASSING_STATES)
    return status in _PASSING or _NETWORK.search(_QUOTED.sub("", text)) is not None


def _hide_values(text: str, sql: str) -> str:
    known = _STRINGS.sub("''", sql).casefold()

    def quoted(match: re.Match[str]) -> str:
        inner = next(part for part in match.groups() if part is not None)
        told = inner.casefold() in known or _HINT.search(match.string[: match.start()])
        return match[0] if told else f"{match[0][0]}…{match[0][-1]}"

    def last(match: re.Match[str]) -> str:
        tail = match["tail"].strip("'\"`.").casefold()
        return match[0] if tail in known or tail == "…" else f"{match['head']}…"

    return _SHORT.sub(last, _VALUE.sub(last, _QUOTED.sub(quoted, text)))


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
