import csv
import io

import pytest
from support.hostile import within

from exporter.report import Refusal
from exporter.targets.salesforce.answers import UnreadableAnswerError
from exporter.targets.salesforce.results import (
    ACCEPTED,
    RowResult,
    count_reasons,
    read_results,
    read_row_error,
    reason,
)


def answer(*errors: str) -> bytes:
    written = io.StringIO(newline="")
    writer = csv.writer(written, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(("Id", "Success", "Created", "Error"))
    for number, error in enumerate(errors):
        writer.writerow(("" if error else f"003{number}", str(not error).lower(), str(not error).lower(), error))
    return written.getvalue().encode()


def test_results_come_in_row_order_with_all_that_a_message_may_hold() -> None:
    long = "x" * 131_072
    content = answer("", 'A_CODE:he said "no",\r\nthen\u2028ü\x85:Email --', "", f"B_CODE:{long}:--")
    results = list(read_results(content))
    assert results[0] == results[2] == ACCEPTED
    assert results[1] == RowResult(code="A_CODE", message='he said "no", then ü [Email]')
    assert results[3] == RowResult(code="B_CODE", message=long)


def test_a_batch_without_rows_has_no_results() -> None:
    assert list(read_results(answer())) == []
    assert list(read_results(b"\xef\xbb\xbf" + answer(""))) == [ACCEPTED]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html></html>",
        b"\xff\xfe",
        b'"Id","Success"\n',
        answer("", "")[:-4],
        answer("") + b'"003","true"\n',
        answer("") + b'"003","true","true","never clo',
    ],
)
def test_an_answer_that_breaks_off_is_not_read_as_fewer_rows(content: bytes) -> None:
    with pytest.raises(UnreadableAnswerError):
        list(read_results(content))


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("A_CODE:fields are missing: [LastName]:LastName --", "A_CODE", "fields are missing: [LastName]"),
        ("A_CODE:too long (max length=40):Name,Email --", "A_CODE", "too long (max length=40) [Name,Email]"),
        ("A_CODE:invalid cross reference id:--", "A_CODE", "invalid cross reference id"),
        ("A_CODE:no end", "A_CODE", "no end"),
        ("words only", "UNKNOWN", "words only"),
        ("", "UNKNOWN", "refused without a reason"),
    ],
)
def test_a_rows_error_is_split_into_code_and_message(text: str, code: str, message: str) -> None:
    assert read_row_error(text) == RowResult(code=code, message=message)


def test_only_a_lock_makes_a_row_locked() -> None:
    assert read_row_error("UNABLE_TO_LOCK_ROW:unable to obtain exclusive access:--").locked
    assert not read_row_error("DUPLICATE_VALUE:x:--").locked
    assert not ACCEPTED.locked


@pytest.mark.parametrize(
    ("message", "masked"),
    [
        ("Email: invalid email address: jo: [x]@y [Email]", "Email: invalid email address: … [Email]"),
        (
            "Name: data value too large: Me (max length=5) (max length=40)",
            "Name: data value too large: … (max length=40)",
        ),
        ("Color: bad value for restricted picklist field: Me", "Color: bad value for restricted picklist field: …"),
        ("duplicates value on record with id: 0035g00000AbCdE", "duplicates value on record with id: …"),
        ("id 0035g00000AbCdEAAV is gone", "id … is gone"),
        ("Due to, 'it's me' is not a valid value for the type", "Due to, '…' is not a valid value for the type"),
        ("Foreign key external ID: me not found for field X", "Foreign key external ID: … not found for field X"),
        ("are missing: [Internationalization, Ext_Id__c]", "are missing: [Internationalization, Ext_Id__c]"),
        ("id value of incorrect type: me", "id value of incorrect type: …"),
    ],
)
def test_a_reason_holds_no_value_of_the_row(message: str, masked: str) -> None:
    assert reason(RowResult(code="X", message=message)) == ("X", masked)


def test_reasons_are_counted_the_most_frequent_first_and_not_too_many() -> None:
    rows = [RowResult(code="A", message="invalid email address: " + name) for name in ("a", "b", "c")]
    rows += [RowResult(code="B", message=f"reason {number}") for number in range(50)]
    counted = count_reasons(rows)
    assert counted[0] == Refusal(code="A", message="invalid email address: …", count=3)
    assert len(counted) == 20


def test_a_long_run_of_blanks_in_an_error_takes_no_time() -> None:
    """It took time by the square of their number: minutes for what one field may hold."""

    def read() -> None:
        found = read_row_error("X:a" + " " * 131_072 + "b:F --")
        assert (found.code, found.message) == ("X", "a b [F]")

    within(30, read)
