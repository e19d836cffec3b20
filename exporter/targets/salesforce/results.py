"""What Salesforce says of each row of a batch. Pure."""

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from exporter.report import MAX_REFUSALS, Refusal, merge_refusals
from exporter.targets.salesforce.answers import UnreadableAnswerError
from exporter.targets.salesforce.codes import Verdict, Where, classify

# An error quotes the value that it refuses, which may be as long as a field may be; the module's limit would end there.
csv.field_size_limit(2**27)

_HEADER = ("Id", "Success", "Created", "Error")
_BLANKS = re.compile(r"\s{2,}")
_ERROR = re.compile(r"(?P<code>[A-Z][A-Z0-9_]*):(?P<message>.*?)(?::(?P<fields>[^:]*?) ?--)?\s*", re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class RowResult:
    """What became of one row; ``code`` is empty if it was accepted."""

    code: str = ""
    message: str = ""

    @property
    def accepted(self) -> bool:
        """Whether the row is in Salesforce."""
        return not self.code

    @property
    def locked(self) -> bool:
        """Whether the row was refused only because another transaction held what it needs."""
        return not self.accepted and classify(Where.ROW, self.code, self.message).verdict is Verdict.ROW_LOCKED


ACCEPTED = RowResult()


def read_results(content: bytes) -> Iterator[RowResult]:
    """Yield a batch's results in row order. Raises UnreadableAnswerError if they are not what a batch's result is.

    Always UTF-8, whatever the header of the answer says: it says nothing (seen in recordings of real orgs).
    """
    try:
        with io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline="") as text:
            lines = csv.reader(text, strict=True)
            header = tuple(next(lines, ()))
            if header != _HEADER:
                raise UnreadableAnswerError("the answer is no batch result")
            for line in lines:
                if len(line) != len(_HEADER):
                    raise UnreadableAnswerError("a line of the batch result is cut short")
                yield ACCEPTED if line[1].lower() == "true" else read_row_error(line[3])
    except (csv.Error, UnicodeDecodeError) as error:
        raise UnreadableAnswerError("the batch result cannot be read") from error


def read_row_error(text: str) -> RowResult:
    """Split ``CODE:message:fields --`` into code and message, the fields in brackets unless the message has them."""
    match = _ERROR.fullmatch(_BLANKS.sub(" ", text))  # a value of 60,000 blanks, quoted, took two minutes
    if match is None:
        return RowResult(code="UNKNOWN", message=" ".join(text.split()) or "refused without a reason")
    message = " ".join(match["message"].split())
    fields = (match["fields"] or "").strip()
    if fields and not all(field.strip() in message for field in fields.split(",")):
        message = f"{message} [{fields}]"
    return RowResult(code=match["code"], message=message)


# What a message quotes of the row it speaks of. Refusals are counted, kept and shown without it.
_QUOTES = (
    (re.compile(r"(invalid email address: ).*?(?= \[[\w, ]*\]$|$)"), r"\1…"),
    (re.compile(r"(data value too large: ).*(?= \(max length=)"), r"\1…"),
    (re.compile(r"(bad value for restricted picklist field: ).*?(?= \[[\w, ]*\]$|$)"), r"\1…"),
    (
        re.compile(r"(id value of incorrect type: |malformed id |invalid id: ?).*?(?= \[[\w, ]*\]$|$)", re.IGNORECASE),
        r"\1…",
    ),
    (re.compile(r"(Foreign key external ID: ).*(?= not found)"), r"\1…"),
    (re.compile(r"(Duplicate external id specified: ).*?(?= \[[\w, ]*\]$|$)", re.IGNORECASE), r"\1…"),
    (re.compile(r"'.*'(?= is not a valid value)", re.DOTALL), "'…'"),
    (re.compile(r"(value not of required type: ).*?(?= \[[\w, ]*\]$|$)"), r"\1…"),
    (re.compile(r"\b(?=[a-zA-Z0-9]*[0-9])[a-zA-Z0-9]{15}(?:[a-zA-Z0-9]{3})?\b"), "…"),
)


def reason(result: RowResult) -> tuple[str, str]:
    """Return code and message of a refusal without the row's own values, so that rows of one reason are one."""
    message = result.message
    for pattern, mask in _QUOTES:
        message = pattern.sub(mask, message)
    return result.code, message


def count_reasons(results: Iterable[RowResult]) -> tuple[Refusal, ...]:
    """Count refused rows by reason, most frequent first, at most :data:`~exporter.report.MAX_REFUSALS` of them."""
    counts: dict[tuple[str, str], int] = {}
    for result in results:
        key = reason(result)
        counts[key] = counts.get(key, 0) + 1
    ordered = sorted(counts.items(), key=lambda item: -item[1])[:MAX_REFUSALS]
    return merge_refusals((), (Refusal(code=code, message=message, count=count) for (code, message), count in ordered))
