import csv
import io

import pytest
from support.loopback.hostile import within

from exporter.failures import FailureKind
from exporter.report import Refusal
from exporter.targets.salesforce.api.row_results import (
    ACCEPTED,
    RowResult,
    count_reasons,
    read_refusals,
    read_results,
    read_row_error,
    write_refusals,
)
from exporter.targets.salesforce.http.responses import UnreadableAnswerError


def answer(*errors: str) -> bytes:
    written = io.StringIO(newline="")
    writer = csv.writer(written, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(("Id", "Success", "Created", "Error"))
    for number, error in enumerate(errors):
        writer.writerow(("" if error else f"003{number:012d}", str(not error).lower(), str(not error).lower(), error))
    return written.getvalue().encode()


def test_results_come_in_row_order_with_all_that_a_message_may_hold() -> None:
    long = "x" * 131_072
    content = answer("", 'A_CODE:he said "no",\r\nthen\u2028ü\x85:Email --', "", f"B_CODE:{long}:--")
    results = list(read_results(content))
    assert results[0] == results[2] == ACCEPTED
    assert results[1] == RowResult(code="A_CODE", message='he said "no", then ü', fields=("Email",))
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


IN = '"003000000000001AAA","true","true",""\n'
SICK = {
    "neither": '"003000000000002AAA","1","true",""\n',
    "no Success": '"003000000000002AAA","","true",""\n',
    "nothing at all": '"","","",""\n',
    "an empty line": "\n",
    "accepted with an error": '"003000000000002AAA","true","true","UNABLE_TO_LOCK_ROW:locked:--"\n',
    "accepted without an Id": '"","true","true",""\n',
    "accepted with half an Id": '"0030000","true","true",""\n',
    "refused and created": '"003000000000002AAA","false","true","UNABLE_TO_LOCK_ROW:locked:--"\n',
}


@pytest.mark.parametrize("line", SICK)
@pytest.mark.parametrize("at", ["first", "last"])
def test_a_line_that_contradicts_itself_says_nothing_of_its_row(line: str, at: str) -> None:
    """A row read as refused would be sent again, and one read as accepted would be lost."""
    lines = [SICK[line], IN] if at == "first" else [IN, SICK[line]]
    with pytest.raises(UnreadableAnswerError):
        list(read_results(answer() + "".join(lines).encode()))


def test_an_insert_makes_no_record_twice() -> None:
    with pytest.raises(UnreadableAnswerError, match="one Id for two rows"):
        list(read_results(answer() + (IN + IN).encode(), unique=True))
    assert list(read_results(answer() + (IN + IN).encode())) == [ACCEPTED, ACCEPTED]


def test_a_refused_row_may_have_the_id_of_its_record_and_the_case_of_the_words_does_not_matter() -> None:
    lines = '"003000000000001AAA","FALSE","False","X:y:--"\n"003000000000001","True","TRUE",""\n'
    assert [each.accepted for each in read_results(answer() + lines.encode(), unique=True)] == [False, True]


def test_events_and_big_objects_have_no_ids_to_look_at() -> None:
    lines = '"","true","true",""\n"e00000000000000AAA","true","true","OPERATION_ENQUEUED:2a:--"\n' * 2
    found = list(read_results(answer() + lines.encode(), has_ids=False, unique=True))
    assert found == [ACCEPTED] * 4


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("A_CODE:fields are missing: [LastName]:LastName --", "A_CODE", "fields are missing: [LastName]"),
        ("A_CODE:too long (max length=40):Name,Email --", "A_CODE", "too long (max length=40) [Name,Email]"),
        ("A_CODE:invalid cross reference id:--", "A_CODE", "invalid cross reference id"),
        ("TooManyLockFailure:Too many lock failure 200 Trying again later.:--", "TooManyLockFailure", "Too many lock"),
        ("A_CODE:no end", "A_CODE", "no end"),
        ("words only", "UNKNOWN", "words only"),
        ("", "UNKNOWN", "refused without a reason"),
    ],
)
def test_a_rows_error_is_split_into_code_and_message_with_its_fields(text: str, code: str, message: str) -> None:
    found = read_row_error(text)
    assert found.code == code
    assert found.text.startswith(message)


def reasons(*errors: str, cells: tuple[str | None, ...] = ()) -> list[tuple[str, str, int]]:
    counted = count_reasons((read_row_error(error), cells) for error in errors)
    return [(each.code, each.message, each.count) for each in counted]


def test_reasons_are_told_apart_by_code_and_fields_and_not_by_the_value() -> None:
    errors = [
        f"INVALID_EMAIL_ADDRESS:Email: invalid email address: {name}:Email --" for name in ("a", "b: [x]", "c --")
    ]
    errors += ["INVALID_EMAIL_ADDRESS:Other: invalid email address: d:Other__c --"]
    errors += [f"SOMETHING_NEW:not with {name}:Email --" for name in ("Jane", "Joe")]
    assert reasons(*errors, cells=("Jane", "Joe")) == [
        ("INVALID_EMAIL_ADDRESS", "Email: invalid email address: …", 3),
        ("SOMETHING_NEW", "not with … [Email]", 2),
        ("INVALID_EMAIL_ADDRESS", "Other: invalid email address: … [Other__c]", 1),
    ]


def test_without_fields_reasons_are_told_apart_by_their_words() -> None:
    shape = "INVALID_FIELD:Foreign key external ID: {} not found for field {} in entity Account:--"
    assert reasons(shape.format("a", "X__c"), shape.format("b", "X__c"), shape.format("c", "Y__c")) == [
        ("INVALID_FIELD", "Foreign key external ID: … not found for field X__c in entity Account", 2),
        ("INVALID_FIELD", "Foreign key external ID: … not found for field Y__c in entity Account", 1),
    ]


def test_reasons_are_counted_the_most_frequent_first_and_not_too_many() -> None:
    errors = ["INVALID_EMAIL_ADDRESS:invalid email address: x:--"] * 3
    errors += [f"B:reason {'x' * number}:--" for number in range(50)]
    counted = reasons(*errors)
    assert counted[0] == ("INVALID_EMAIL_ADDRESS", "invalid email address: …", 3)
    assert len(counted) == 20


def test_a_reason_says_whose_move_it_is_also_when_it_comes_back_from_the_ledger() -> None:
    errors = (
        "STORAGE_LIMIT_EXCEEDED:storage limit exceeded:--",
        "REQUEST_LIMIT_EXCEEDED:TotalRequests Limit exceeded.:--",
        "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY:insufficient access rights on cross-reference id:--",
        "FIELD_NOT_UPDATABLE:no:Name --",
        "UNABLE_TO_LOCK_ROW:unable to obtain exclusive access to this record:--",
        "STRING_TOO_LONG:x:Name --",
    )
    counted = count_reasons((read_row_error(error), ()) for error in errors)
    kinds = {each.code: (each.kind, each.quota, bool(each.advice)) for each in counted}
    assert kinds == {
        "STORAGE_LIMIT_EXCEEDED": (FailureKind.TRANSIENT, False, True),
        "REQUEST_LIMIT_EXCEEDED": (FailureKind.TRANSIENT, True, True),
        "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY": (FailureKind.DATA, False, True),
        "FIELD_NOT_UPDATABLE": (FailureKind.CONFIGURATION, False, True),
        "UNABLE_TO_LOCK_ROW": (FailureKind.TRANSIENT, False, True),
        "STRING_TOO_LONG": (FailureKind.DATA, False, False),
    }
    assert tuple(read_refusals(write_refusals(counted))) == counted
    assert read_refusals([{"code": "A", "message": "b", "count": 2}]) == [Refusal(code="A", message="b", count=2)]


def test_a_long_run_of_blanks_in_an_error_takes_no_time() -> None:
    """It took time by the square of their number: minutes for what one field may hold."""

    def read() -> None:
        found = read_row_error("X:a" + " " * 131_072 + "b:F --")
        assert (found.code, found.message, found.fields) == ("X", "a b", ("F",))

    within(30, read)
