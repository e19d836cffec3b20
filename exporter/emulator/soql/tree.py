"""A SOQL query as values. Pure."""

from dataclasses import dataclass

Path = tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Literal:
    """A value: kind ``string``, ``number``, ``boolean``, ``null``, ``date``, ``datetime`` or ``words`` (TODAY)."""

    kind: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """``path op value``; op is one of ``= != < <= > >= like``."""

    path: Path
    operator: str
    value: Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class Membership:
    """``path [NOT] IN (values)``, or a query's result."""

    path: Path
    negated: bool
    values: "tuple[Literal, ...] | Query"


@dataclass(frozen=True, kw_only=True, slots=True)
class Junction:
    """``and``, ``or`` or ``not`` over conditions."""

    operator: str
    parts: "tuple[Condition, ...]"


Condition = Comparison | Membership | Junction


@dataclass(frozen=True, kw_only=True, slots=True)
class Selected:
    """A field, or an aggregate of one: ``function`` is empty or ``count``, ``count_distinct``, ``sum`` and the like."""

    path: Path
    function: str = ""
    alias: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ordering:
    """A field to sort by."""

    path: Path
    descending: bool = False
    nulls_last: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """A query; ``counts`` if it asks for COUNT() alone, whose answer has no records."""

    object: str
    selected: tuple[Selected, ...]
    counts: bool = False
    where: Condition | None = None
    grouped: tuple[Path, ...] = ()
    ordered: tuple[Ordering, ...] = ()
    limit: int | None = None
    offset: int = 0

    @property
    def aggregated(self) -> bool:
        """Whether its answer is AggregateResults rather than records."""
        return bool(self.grouped) or any(each.function not in {"", "fields"} for each in self.selected)
