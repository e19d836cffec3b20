"""What Salesforce says of each row of a batch. Pure."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from exporter.failures import FailureKind
from exporter.report import Refusal, merge_refusals
from exporter.targets.salesforce.http.error_codes import Rule, Verdict, Where, classify
from exporter.targets.salesforce.http.message_values import without_values
from exporter.targets.salesforce.http.responses import UnreadableAnswerError, read_id

# An error quotes the value that it refuses, which may be as long as a field may be; the module's limit would end there.
csv.field_size_limit(2**27)

_HEADER = ("Id", "Success", "Created", "Error")
_SIGNIFICANT = 15
"""Characters of an Id; the three that may follow are a checksum."""
_ENQUEUED = "OPERATION_ENQUEUED"
"""What comes with a platform event that was accepted (Platform Events Developer Guide)."""
_BLANKS = re.compile(r"\s{2,}")
_ERROR = re.compile(r"(?P<code>[A-Za-z][A-Za-z0-9_]*):(?P<message>.*?)(?::(?P<fields>[^:]*?) ?--)?\s*", re.DOTALL)
SOON = frozenset({Verdict.ROW_LOCKED, Verdict.TRANSIENT})
"""Why rows are refused for nothing of their own, and may be sent again soon: they were not written."""
PASSING = frozenset({Verdict.TRANSIENT, Verdict.QUOTA, Verdict.LIMIT})
"""Why rows are refused by an org that takes none now, and may take them later."""
_KINDS = {
    Verdict.CONFIGURATION: FailureKind.CONFIGURATION,
    **dict.fromkeys(SOON | PASSING, FailureKind.TRANSIENT),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class RowResult:
    """What became of one row; ``code`` is empty if it was accepted. ``fields`` are those that the error names."""

    code: str = ""
    message: str = ""
    fields: tuple[str, ...] = ()

    @property
    def accepted(self) -> bool:
        """Whether the row is in Salesforce."""
        return not self.code

    @property
    def rule(self) -> Rule:
        """What the error asks for; only of a row that was refused."""
        return classify(Where.ROW, self.code, self.message)

    @property
    def text(self) -> str:
        """The message as the rejected row keeps it: with the fields, in brackets, unless it has them."""
        if all(field in self.message for field in self.fields):
            return self.message
        return f"{self.message} [{','.join(self.fields)}]"


ACCEPTED = RowResult()


class RecordIds:
    """The Ids of the rows that one answer calls accepted; with ``unique``, those of an insert, no two are the same.

    An update or a deletion may name one record in two rows. Without ``has_ids`` they are not looked at.
    """

    def __init__(self, *, unique: bool, has_ids: bool) -> None:
        self._unique = unique
        self._has_ids = has_ids
        self._seen: set[str] = set()

    def add(self, text: str) -> None:
        """Take in the next one. Raises UnreadableAnswerError if it cannot be true."""
        if not self._has_ids:
            return
        record = read_id(text)[:_SIGNIFICANT]
        if self._unique and record in self._seen:
            raise UnreadableAnswerError("the results give one Id for two rows that were inserted")
        self._seen.add(record)


def read_results(content: bytes, *, unique: bool = False, has_ids: bool = True) -> Iterator[RowResult]:
    """Yield a batch's results in row order. Raises UnreadableAnswerError if they are not what a batch's result is.

    That is also what a line is that contradicts itself: what became of its row is not known. ``unique`` and ``has_ids``
    are those of :class:`RecordIds`. Always UTF-8, whatever the header of the answer says: it says nothing (seen in
    recordings of real orgs).
    """
    ids = RecordIds(unique=unique, has_ids=has_ids)
    try:
        with io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline="") as text:
            lines = csv.reader(text, strict=True)
            header = tuple(next(lines, ()))
            if header != _HEADER:
                raise UnreadableAnswerError("the answer is no batch result")
            for line in lines:
                if len(line) != len(_HEADER):
                    raise UnreadableAnswerError("a line of the batch result is cut short")
                record, success, created, error = line
                match success.lower():
                    case "true" if not error or error.startswith(_ENQUEUED):
                        ids.add(record)
                        yield ACCEPTED
                    case "false" if created.lower() != "true":
                        yield read_row_error(error)
                    case _:
                        raise UnreadableAnswerError("a line of the batch result contradicts itself")
    except (csv.Error, UnicodeDecodeError) as fault:
        raise UnreadableAnswerError("the batch result cannot be read") from fault


def read_row_error(text: str) -> RowResult:
    """Split ``CODE:message:fields --`` into code, message and fields."""
    match = _ERROR.fullmatch(_BLANKS.sub(" ", text))  # a value of 60,000 spaces, quoted, took two minutes
    if match is None:
        return RowResult(code="UNKNOWN", message=" ".join(text.split()) or "refused without a reason")
    fields = tuple(field.strip() for field in (match["fields"] or "").split(",") if field.strip())
    return RowResult(code=match["code"], message=" ".join(match["message"].split()), fields=fields)


Cells = Iterable[str | None]


def refusal_of(code: str, message: str, count: int, fields: Iterable[str] = ()) -> Refusal:
    """Return a reason, given by Salesforce's code and a message without values, with what it asks for."""
    rule = classify(Where.ROW, code, message)
    return Refusal(
        code=code,
        message=message,
        count=count,
        fields=tuple(fields),
        kind=_KINDS.get(rule.verdict, FailureKind.DATA),
        advice=rule.advice,
        quota=rule.verdict is Verdict.QUOTA,
    )


def count_reasons(refused: Iterable[tuple[RowResult, Cells]]) -> tuple[Refusal, ...]:
    """Count rejected rows, each with its cells, by reason and without values, the most frequent reason first.

    At most :data:`~exporter.report.MAX_REFUSALS` of them.
    """
    counts: dict[tuple[str, tuple[str, ...] | str], int] = {}
    shown: dict[tuple[str, tuple[str, ...] | str], RowResult] = {}
    for result, cells in refused:
        known = (result.code, result.fields)
        message = "" if result.fields and known in counts else without_values(result.message, cells)
        reason = result.code, result.fields or message
        counts[reason] = counts.get(reason, 0) + 1
        shown.setdefault(reason, RowResult(code=result.code, message=message, fields=result.fields))
    return merge_refusals(
        (), (refusal_of(each.code, each.text, counts[reason], each.fields) for reason, each in shown.items())
    )


def write_refusals(refusals: Iterable[Refusal]) -> list[dict[str, object]]:
    """Return reasons as the ledger keeps them."""
    return [
        {"code": each.code, "message": each.message, "count": each.count, "fields": list(each.fields)}
        for each in refusals
    ]


def read_refusals(kept: Iterable[Mapping[str, Any]]) -> list[Refusal]:
    """Return the reasons that :func:`write_refusals`, of this version or an older one, wrote."""
    return [refusal_of(each["code"], each["message"], each["count"], each.get("fields", ())) for each in kept]
