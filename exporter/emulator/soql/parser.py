"""SOQL, as far as integrations use it: text to values. Pure.

SELECT fields, FIELDS(ALL|STANDARD|CUSTOM), COUNT() or aggregates FROM object [alias] [WHERE …] [GROUP BY …]
[ORDER BY … [ASC|DESC] [NULLS FIRST|LAST]] [LIMIT n] [OFFSET n]; paths to parents; IN with a list or a semi-join.
"""

import re

from exporter.emulator.http import RefusalError
from exporter.emulator.soql.tree import (
    Comparison,
    Condition,
    Junction,
    Literal,
    Membership,
    Ordering,
    Path,
    Query,
    Selected,
)

_TOKENS = re.compile(
    r"\s*(?:(?P<string>'(?:[^'\\]|\\.)*')"
    r"|(?P<datetime>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d))"
    r"|(?P<date>\d{4}-\d\d-\d\d)"
    r"|(?P<number>[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-z_]\w*(?:\.\w+)*(?::\d+)?)"
    r"|(?P<symbol><=|>=|!=|<>|[=<>(),]))",
    re.DOTALL,
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_FUNCTIONS = frozenset({"count", "count_distinct", "sum", "avg", "min", "max"})
_CLAUSES = frozenset({"where", "group", "order", "limit", "offset", "for", "all", "having", "using", "with"})
_MAX_DEPTH = 50
_COUNT_DIGITS = 10


def parse(text: str) -> Query:
    """Parse a query. Raises RefusalError ``MALFORMED_QUERY``."""
    parser = _Parser(text)
    query = parser.query()
    parser.end()
    return query


def _malformed(message: str) -> RefusalError:
    return RefusalError(400, "MALFORMED_QUERY", message)


class _Parser:
    """A recursive descent over the tokens."""

    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        self._at = 0
        self._depth = 0
        place = 0
        text = text.rstrip()
        while place < len(text):
            match = _TOKENS.match(text, place)
            if match is None:
                raise _malformed(f"line 1:{place} no viable alternative at character '{text[place:].lstrip()[:1]}'")
            self._tokens.append((str(match.lastgroup), match[str(match.lastgroup)]))
            place = match.end()

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "<EOF>")

    def _next(self) -> tuple[str, str]:
        token = self._peek()
        self._at += 1
        return token

    def _word(self) -> str:
        kind, text = self._peek()
        return text.lower() if kind == "name" else ""

    def _take(self, *words: str) -> bool:
        """Consume these keywords or symbols if they come next."""
        ahead = [text.lower() for _, text in self._tokens[self._at : self._at + len(words)]]
        if ahead != list(words):
            return False
        self._at += len(words)
        return True

    def _need(self, word: str) -> None:
        if not self._take(word):
            raise _malformed(f"unexpected token: '{self._peek()[1]}' (expected {word.upper()})")

    def _name(self) -> str:
        kind, text = self._next()
        if kind != "name":
            raise _malformed(f"unexpected token: '{text}' (expected a name)")
        return text

    def _count(self) -> int:
        kind, text = self._next()
        if kind != "number" or not text.isdecimal():
            raise _malformed(f"unexpected token: '{text}' (expected a number)")
        if len(text) > _COUNT_DIGITS:
            raise _malformed(f"For input string: '{text}'")
        return int(text)

    def end(self) -> None:
        """Insist that nothing is left."""
        if self._peek()[0] != "end":
            raise _malformed(f"unexpected token: '{self._peek()[1]}'")

    def query(self) -> Query:
        self._need("select")
        counts = self._take("count", "(", ")")
        selected = [] if counts else [self._selected()]
        while selected and self._take(","):
            selected.append(self._selected())
        self._need("from")
        source = self._name()
        alias = ""
        if self._peek()[0] == "name" and self._word() not in _CLAUSES:
            alias = self._name().lower()
        where = self._condition() if self._take("where") else None
        grouped = self._paths() if self._take("group", "by") else ()
        ordered = self._orderings() if self._take("order", "by") else ()
        limit = self._count() if self._take("limit") else None
        offset = self._count() if self._take("offset") else 0
        self._take("all", "rows")
        own = {source.lower(), alias}
        return Query(
            object=source,
            selected=tuple(
                Selected(path=_strip(each.path, own), function=each.function, alias=each.alias) for each in selected
            ),
            counts=counts,
            where=_stripped(where, own),
            grouped=tuple(_strip(path, own) for path in grouped),
            ordered=tuple(
                Ordering(path=_strip(each.path, own), descending=each.descending, nulls_last=each.nulls_last)
                for each in ordered
            ),
            limit=limit,
            offset=offset,
        )

    def _selected(self) -> Selected:
        if self._peek()[1] == "(":
            raise _malformed("a query of children is not supported by the emulator")
        name = self._name()
        if not self._take("("):
            return Selected(path=tuple(name.split(".")))
        function = name.lower()
        if function not in _FUNCTIONS | {"fields"}:
            raise _malformed(f"the function {name} is not supported by the emulator")
        path = tuple(self._name().split("."))
        self._need(")")
        alias = self._name() if self._peek()[0] == "name" and self._word() != "from" else ""
        return Selected(path=path, function=function, alias=alias)

    def _paths(self) -> tuple[Path, ...]:
        paths = [tuple(self._name().split("."))]
        while self._take(","):
            paths.append(tuple(self._name().split(".")))
        return tuple(paths)

    def _orderings(self) -> tuple[Ordering, ...]:
        orderings = []
        while True:
            path = tuple(self._name().split("."))
            descending = not self._take("asc") and self._take("desc")
            nulls_last = not self._take("nulls", "first") and self._take("nulls", "last")
            orderings.append(Ordering(path=path, descending=descending, nulls_last=nulls_last))
            if not self._take(","):
                return tuple(orderings)

    def _condition(self) -> Condition:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise _malformed("too many parentheses")
        parts = [self._term()]
        operator = self._word()
        if operator not in {"and", "or"}:
            self._depth -= 1
            return parts[0]
        while self._take(operator):
            parts.append(self._term())
        if self._word() in {"and", "or"}:
            raise _malformed(f"unexpected token: '{self._peek()[1]}' (AND and OR need parentheses)")
        self._depth -= 1
        return Junction(operator=operator, parts=tuple(parts))

    def _term(self) -> Condition:
        if self._take("not"):
            return Junction(operator="not", parts=(self._term(),))
        if self._take("("):
            found = self._condition()
            self._need(")")
            return found
        path = tuple(self._name().split("."))
        if self._take("in"):
            return Membership(path=path, negated=False, values=self._members())
        if self._take("not", "in"):
            return Membership(path=path, negated=True, values=self._members())
        if self._take("like"):
            return Comparison(path=path, operator="like", value=self._literal())
        kind, text = self._next()
        if kind != "symbol" or text in {"(", ")", ","}:
            raise _malformed(f"unexpected token: '{text}'")
        return Comparison(path=path, operator="!=" if text == "<>" else text, value=self._literal())

    def _members(self) -> "tuple[Literal, ...] | Query":
        self._need("(")
        if self._word() == "select":
            found: tuple[Literal, ...] | Query = self.query()
        else:
            values = [self._literal()]
            while self._take(","):
                values.append(self._literal())
            found = tuple(values)
        self._need(")")
        return found

    def _literal(self) -> Literal:
        kind, text = self._next()
        if kind == "string":
            plain = re.sub(r"\\(.)", lambda match: _unescape(match[1]), text[1:-1], flags=re.DOTALL)
            return Literal(kind="string", text=plain)
        if kind in {"number", "date", "datetime"}:
            return Literal(kind=kind, text=text)
        if kind == "name" and text.lower() in {"true", "false"}:
            return Literal(kind="boolean", text=text.lower())
        if kind == "name" and text.lower() == "null":
            return Literal(kind="null", text="")
        if kind == "name" and "." not in text:
            return Literal(kind="words", text=text.upper())
        raise _malformed(f"unexpected token: '{text}'")


def _unescape(letter: str) -> str:
    """Resolve an escape; those of LIKE's wildcards stay, for LIKE to read."""
    return "\\" + letter if letter in "%_" else _ESCAPES.get(letter, letter)


def _strip(path: Path, own: set[str]) -> Path:
    """Take the object's own name or alias off a path."""
    return path[1:] if len(path) > 1 and path[0].lower() in own else path


def _stripped(condition: Condition | None, own: set[str]) -> Condition | None:
    if isinstance(condition, Comparison):
        return Comparison(path=_strip(condition.path, own), operator=condition.operator, value=condition.value)
    if isinstance(condition, Membership):
        return Membership(path=_strip(condition.path, own), negated=condition.negated, values=condition.values)
    if isinstance(condition, Junction):
        parts = tuple(part for each in condition.parts if (part := _stripped(each, own)) is not None)
        return Junction(operator=condition.operator, parts=parts)
    return None
