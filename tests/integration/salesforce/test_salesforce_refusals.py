"""What Salesforce answers to rows, batches and queries, by code, over real HTTP: who has to act, what goes again."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.runs.exports import ListLedger, QuickControl, make_context, make_spool, make_target
from support.runs.whole_runs import SECRET, Workplace

from exporter.emulator.fault_injection import RowFault
from exporter.emulator.server import Emulator
from exporter.failures import ExportError, FailureKind
from exporter.report import ExportReport
from exporter.targets.salesforce.api import query
from scheduler.outcomes.outcome import Conclusion, conclude
from scheduler.runs.resend import RETRIED

if TYPE_CHECKING:
    from exporter.spool.spool import Spool

APIS = ("1", "2")
LOCK = ("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record or 1 records: 001B000001ABCdEIAX")
IN_A_TRIGGER = (
    "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
    (
        "dlrs_ThingTrigger: execution of AfterInsert caused by: System.DmlException: Update failed. First exception on "
        "row 0; first error: UNABLE_TO_LOCK_ROW, unable to obtain exclusive access to this record: []"
    ),
)
IN_A_FLOW = (
    "CANNOT_EXECUTE_FLOW_TRIGGER",
    (
        'We can\'t save this record because the "Count" process failed. The flow tried to update these records. This '
        "error occurred: CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY: T: execution of BeforeUpdate caused by: "
        "System.DmlException: first error: UNABLE_TO_LOCK_ROW, unable to obtain exclusive access to this record"
    ),
)
CROWDED = ("TooManyLockFailure", "Too many lock failure 200 Trying again later.")
CROWD = f"{CROWDED[0]} : {CROWDED[1]}"


class Export:
    """An append of things, in batches of ``batch_size``, over one of the bulk APIs."""

    def __init__(self, emulator: Emulator, directory: Path, api: str, *, rows: int = 6, batch_size: int = 3) -> None:
        self.emulator = emulator
        self.ledger = ListLedger()
        self.control = QuickControl()
        self.names = [f"thing {number}" for number in range(1, rows + 1)]
        things = [(name, name.replace("thing ", "e")) for name in self.names]
        self.spool: Spool = make_spool(directory / "s", things, names=("Name", "Ext_Id__c"), batch_size=batch_size)
        connection = {"client_id": "emulator", "client_secret": SECRET, "retry_limit": 2}
        self._target = make_target(emulator.url, connection=connection, object="Thing__c", bulk_api=api)

    def befall(self, **fault: Any) -> None:
        self.emulator.faults.add(RowFault(object="Thing__c", **fault))

    def run(self) -> ExportReport:
        return self._target.export(self.spool, make_context(self.ledger, control=_Brisk(self.control)))

    def abort(self) -> None:
        self._target.abort(self.spool, make_context(self.ledger, control=_Brisk(self.control)))

    def conclude(self) -> Conclusion:
        return conclude(self.run())

    def there(self) -> list[str]:
        return sorted(str(record["Name"]) for record in self.emulator.org.records("Thing__c"))

    def sizes(self) -> list[int]:
        """Return the rows of each sending, in the order in which they were handed over."""
        sent = [each for each in self.ledger.kept if (each.step, each.mark) == ("batch.send", "done")]
        return [int(str(each.data["rows"])) for each in sent]


class _Brisk(QuickControl):
    """A control that notes what it was to wait, and waits a moment: the emulator needs its time."""

    def __init__(self, noted: QuickControl) -> None:
        super().__init__()
        self._noted = noted

    def wait(self, seconds: float) -> None:
        self._noted.wait(seconds)
        time.sleep(min(seconds, 0.01))


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    ("code", "quota"),
    [
        ("REQUEST_LIMIT_EXCEEDED", True),
        ("STORAGE_LIMIT_EXCEEDED", False),
        ("SINGLE_EMAIL_LIMIT_EXCEEDED", False),
        ("LIMIT_EXCEEDED", False),
        ("INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE", False),
        ("UNKNOWN_EXCEPTION", False),
        ("SERVER_UNAVAILABLE", False),
    ],
)
def test_an_org_that_takes_no_rows_now_fails_the_attempt_and_gets_them_later(
    emulator: Emulator, tmp_path: Path, api: str, code: str, *, quota: bool
) -> None:
    export = Export(emulator, tmp_path, api)
    export.befall(every=1, times=100, error=(code, "not now"))
    with pytest.raises(ExportError, match="every row of batch") as caught:
        export.run()
    assert (caught.value.kind, caught.value.code, caught.value.quota) == (FailureKind.TRANSIENT, code, quota)
    assert export.ledger.rejected == {}
    emulator.faults.clear()
    report = export.run()
    assert (report.accepted, report.rejected) == (6, 0)
    assert export.there() == export.names


@pytest.mark.parametrize("api", APIS)
def test_an_org_that_takes_rows_again_while_a_call_may_be_retried_fails_nothing(
    emulator: Emulator, tmp_path: Path, api: str
) -> None:
    export = Export(emulator, tmp_path, api, rows=3)
    export.befall(every=1, times=2, error=("SERVER_UNAVAILABLE", "not now"))
    assert export.run().accepted == 3
    assert export.there() == export.names
    assert len([wait for wait in export.control.waits if wait >= 0.5]) >= 2


@pytest.mark.parametrize("api", APIS)
def test_rows_that_a_full_org_refused_are_rejected_when_the_run_is_given_up(
    emulator: Emulator, tmp_path: Path, api: str
) -> None:
    export = Export(emulator, tmp_path, api, rows=3)
    export.befall(every=1, times=100, error=("STORAGE_LIMIT_EXCEEDED", "storage limit exceeded"))
    with pytest.raises(ExportError):
        export.run()
    export.abort()
    kept = export.ledger.rejected
    assert {number: row.code for number, row in kept.items()} == dict.fromkeys((1, 2, 3), "STORAGE_LIMIT_EXCEEDED")
    assert kept[2].values == {"Name": "thing 2", "Ext_Id__c": "e2"}


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("error", [LOCK, IN_A_TRIGGER, IN_A_FLOW, CROWDED, ("SERVER_UNAVAILABLE", "not now")])
def test_rows_refused_for_nothing_of_their_own_are_sent_again_alone(
    emulator: Emulator, tmp_path: Path, api: str, error: tuple[str, str]
) -> None:
    export = Export(emulator, tmp_path, api)
    export.befall(column="Ext_Id__c", values=("e2", "e5"), times=2, error=error)
    report = export.run()
    assert (report.accepted, report.rejected) == (6, 0)
    assert export.there() == export.names
    assert sorted(export.sizes()) == [1, 1, 1, 1, 3, 3]


@pytest.mark.parametrize("api", APIS)
def test_a_row_that_an_internal_error_of_the_org_always_meets_is_rejected_alone(
    emulator: Emulator, tmp_path: Path, api: str
) -> None:
    export = Export(emulator, tmp_path, api, rows=3)
    export.befall(
        column="Ext_Id__c", values=("e2",), times=100, error=("UNKNOWN_EXCEPTION", "ErrorId: 1070455769-22115")
    )
    conclusion = export.conclude()
    assert (conclusion.report.accepted, conclusion.report.rejected) == (2, 1)
    assert conclusion.failure is not None
    assert conclusion.failure.kind is FailureKind.TRANSIENT
    assert "1070455769" not in conclusion.failure.message
    assert export.ledger.rejected[2].message == "ErrorId: 1070455769-22115"


@pytest.mark.parametrize("api", APIS)
def test_all_rows_refused_is_configuration_only_for_columns_types_and_rights(
    emulator: Emulator, tmp_path: Path, api: str
) -> None:
    kinds = {}
    for code in (
        *("INVALID_EMAIL_ADDRESS", "FIELD_NOT_UPDATABLE", "FIELD_CUSTOM_VALIDATION_EXCEPTION", "SOMETHING_NEW"),
        *("INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY", "TRANSFER_REQUIRES_READ"),
    ):
        (tmp_path / code).mkdir()
        export = Export(emulator, tmp_path / code, api, rows=1)
        export.befall(every=1, error=(code, "no"))
        failure = export.conclude().failure
        assert failure is not None
        kinds[failure.code] = failure.kind
    assert kinds == {
        "INVALID_EMAIL_ADDRESS": FailureKind.DATA,
        "FIELD_NOT_UPDATABLE": FailureKind.CONFIGURATION,
        "FIELD_CUSTOM_VALIDATION_EXCEPTION": FailureKind.DATA,
        "SOMETHING_NEW": FailureKind.DATA,
        "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY": FailureKind.DATA,
        "TRANSFER_REQUIRES_READ": FailureKind.DATA,
    }


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("processed", [0, 100])
def test_a_batch_that_met_too_many_locks_goes_serially_and_in_smaller_pieces(
    emulator: Emulator, tmp_path: Path, api: str, processed: int
) -> None:
    export = Export(emulator, tmp_path, api, rows=900, batch_size=450)
    export.befall(larger=45, times=100, batch_message=CROWD, processed=processed, error=CROWDED)
    report = export.run()
    assert (report.accepted, report.rejected) == (900, 0)
    assert export.there() == sorted(export.names)
    assert export.sizes()[:2] == [450, 450]
    assert max(export.sizes()[2:]) == 45
    if api == "1":
        opened = [
            str(each.data["concurrency"])
            for each in export.ledger.kept
            if each.step == "job.create" and "id" in each.data
        ]
        assert opened == ["Parallel", "Serial"]


@pytest.mark.parametrize("api", APIS)
def test_a_small_batch_that_met_too_many_locks_goes_in_smaller_pieces_too(
    emulator: Emulator, tmp_path: Path, api: str
) -> None:
    """200 rows and fewer went round with the same batch, three times, and were rejected."""
    export = Export(emulator, tmp_path, api, rows=100, batch_size=100)
    export.befall(larger=30, times=100, batch_message=CROWD)
    report = export.run()
    assert (report.accepted, report.rejected) == (100, 0)
    assert export.sizes() == [100, 25, 25, 25, 25]


@pytest.mark.parametrize("api", APIS)
def test_the_last_round_of_locked_rows_goes_in_the_smallest_pieces(
    emulator: Emulator, tmp_path: Path, api: str
) -> None:
    export = Export(emulator, tmp_path, api, rows=30, batch_size=30)
    export.befall(larger=5, times=100, batch_message=CROWD)
    report = export.run()
    assert (report.accepted, report.rejected) == (30, 0)
    assert export.sizes() == [30, 25, 5, *[5] * 5]


@pytest.mark.parametrize("api", APIS)
def test_locks_that_stay_reject_the_rows_and_name_what_to_set(emulator: Emulator, tmp_path: Path, api: str) -> None:
    export = Export(emulator, tmp_path, api, rows=3)
    export.befall(times=100, batch_message=CROWD)
    conclusion = export.conclude()
    assert (conclusion.report.accepted, conclusion.report.rejected) == (0, 3)
    assert conclusion.failure is not None
    assert (conclusion.failure.kind, conclusion.failure.code) == (FailureKind.TRANSIENT, "TooManyLockFailure")
    assert "concurrency_mode" in conclusion.failure.message
    assert "batch_size" in conclusion.failure.message
    assert export.there() == []


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    ("message", "kind", "words"),
    [
        ("FeatureNotEnabled : Bulk API is not enabled", FailureKind.CONFIGURATION, "Bulk API"),
        ("InvalidUser : no", FailureKind.CONFIGURATION, "permission"),
        ("InvalidEntity : Entity 'Thing__c' is not supported by the Bulk API.", FailureKind.CONFIGURATION, "object"),
        ("TransactionSecurityBlock : no", FailureKind.CONFIGURATION, "policy"),
        ("TransactionSecurityDeveloperError : no", FailureKind.CONFIGURATION, "policy"),
        ("TXN_SECURITY_METERING_ERROR : policies took too long", FailureKind.TRANSIENT, "policies"),
        ("TransactionSecurityInternalError : no", FailureKind.TRANSIENT, "no"),
        ("UnsupportedContentType : no", FailureKind.INTERNAL, "no"),
        ("HttpsRequired : no", FailureKind.INTERNAL, "no"),
        ("InvalidBatch : Field name not found : Nickname", FailureKind.CONFIGURATION, "Nickname"),
        ("ClientInputError : Cannot read 'jane@example.com' in line 12", FailureKind.INTERNAL, "Cannot read …"),
    ],
)
def test_a_batch_that_fails_is_judged_by_its_code(  # noqa: PLR0917 - pytest's fixtures
    emulator: Emulator, tmp_path: Path, api: str, message: str, kind: FailureKind, words: str
) -> None:
    export = Export(emulator, tmp_path, api, rows=3)
    export.befall(times=100, batch_message=message)
    with pytest.raises(ExportError, match=words) as caught:
        export.run()
    assert (caught.value.kind, caught.value.code) == (kind, message.partition(" ")[0])
    assert "jane" not in caught.value.message


@pytest.mark.parametrize(
    ("inside", "kind"),
    [
        ("QUERY_TIMEOUT: Your query request was running for too long.", FailureKind.TRANSIENT),
        ("OPERATION_TOO_LARGE: exceeded 100000 distinct who/what's", FailureKind.CONFIGURATION),
        (
            "INVALID_FIELD: \nSELECT Id, X FROM Thing__c\n           ^\nERROR at Row:1:Column:12\nNo such column 'X'",
            FailureKind.CONFIGURATION,
        ),
        ("TXN_SECURITY_NO_ACCESS: The requested operation was blocked", FailureKind.CONFIGURATION),
        ("TXN_SECURITY_METERING_ERROR: took too long", FailureKind.TRANSIENT),
        ("REQUEST_RUNNING_TOO_LONG: Your request was running for too long", FailureKind.TRANSIENT),
        ("MALFORMED_QUERY: unexpected token: 'jane'", FailureKind.INTERNAL),
    ],
)
@pytest.mark.parametrize("api", APIS)
def test_a_bulk_query_that_fails_is_judged_by_the_code_inside(  # noqa: PLR0917 - pytest's fixtures
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api: str, inside: str, kind: FailureKind
) -> None:
    monkeypatch.setattr("exporter.targets.salesforce.deletion.id_list.BULK_FROM", 1)
    assert query.BULK_FROM > 1
    Export(emulator, tmp_path, api).run()
    connection = {"client_id": "emulator", "client_secret": SECRET}
    target = make_target(emulator.url, connection=connection, object="Thing__c", mode="truncate", bulk_api=api)
    emulator.faults.add(
        RowFault(object="Thing__c", queries=True, batch_message=f"InvalidBatch : Failed to process query: {inside}")
    )
    spool = make_spool(tmp_path / "t", [("new", "n")], names=("Name", "Ext_Id__c"))
    with pytest.raises(ExportError) as caught:
        target.export(spool, make_context(ListLedger(), control=_Brisk(QuickControl())))
    assert (caught.value.kind, caught.value.code) == (kind, inside.partition(":")[0])
    assert "jane" not in caught.value.message
    assert emulator.org.count("Thing__c") == 6


JOB = """
disable_after = 2
[jobs.things.export]
connection = "crm"
object = "Thing__c"
"""


def test_no_row_value_gets_into_the_failure_the_log_or_the_notices(
    emulator: Emulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    shop = Workplace(tmp_path, url=emulator.url, job=JOB)
    secret = "Jane-Doe-987654"
    for code, message in (
        ("NUMBER_OUTSIDE_VALID_RANGE", f"Score: value outside of valid range on numeric field: {secret}"),
        ("FIELD_CUSTOM_VALIDATION_EXCEPTION", f"We do not sell to {secret} any more"),
        ("DUPLICATES_DETECTED", f"There is {secret} already"),
        ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", f"T: execution of BeforeInsert caused by: X: {secret} is known"),
    ):
        emulator.faults.add(RowFault(object="Thing__c", every=1, error=(code, message)))
        run = shop.run([{"Name": secret, "Ext_Id__c": code[:20]}])
        assert (run.outcome, run.failure_kind, run.failure_code) == ("failed", "data", code)
        assert secret not in str(run.failure_message)
        assert "987654" not in str(run.failure_message)
    assert secret not in caplog.text


def test_values_that_are_refused_again_and_again_disable_no_job(emulator: Emulator, tmp_path: Path) -> None:
    shop = Workplace(tmp_path, url=emulator.url, job=JOB)
    for _ in range(3):
        emulator.faults.add(
            RowFault(object="Thing__c", every=1, error=("INVALID_EMAIL_ADDRESS", "invalid email address: x"))
        )
        run = shop.run([{"Name": "x", "Ext_Id__c": "x"}])
        assert run.failure_kind == "data"
    assert shop.run([{"Name": "x", "Ext_Id__c": "x"}]).outcome == "succeeded"
    last = shop.run(kind="retry", reason=RETRIED, retry_of=run.id)
    assert last.rows_read == 1


HIERARCHY = """
[jobs.things.export]
connection = "crm"
object = "Thing__c"
bulk_api = "{api}"
{mode}
"""
MODES = {"append": "", "upsert": 'mode = "update"\nkey = "Ext_Id__c"\nupsert = true'}


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("mode", MODES)
def test_a_hierarchy_with_null_roots_loads_and_a_retry_of_the_rejected_rows_brings_the_children(
    emulator: Emulator, tmp_path: Path, mode: str, api: str
) -> None:
    shop = Workplace(tmp_path, url=emulator.url, job=HIERARCHY.format(api=api, mode=MODES[mode]))
    rows: list[dict[str, Any]] = [
        {
            "Name": f"thing {number}",
            "Ext_Id__c": f"e{number}",
            "Parent__r.Ext_Id__c": f"e{number // 3}" if number > 2 else None,
        }
        for number in range(1, 28)
    ]
    run = shop.run(rows)
    for _ in range(3):  # one level at a time
        if run.outcome == "succeeded":
            break
        assert run.failure_code == "INVALID_FIELD"
        run = shop.run(kind="retry", reason=RETRIED, retry_of=run.id)
    assert run.outcome == "succeeded"
    there = {record["Ext_Id__c"]: record for record in emulator.org.records("Thing__c")}
    ids = {key: record["Id"] for key, record in there.items()}
    parents = {key: record["Parent__c"] for key, record in there.items()}
    assert parents == {row["Ext_Id__c"]: ids.get(row["Parent__r.Ext_Id__c"]) for row in rows}


@pytest.mark.parametrize("api", APIS)
def test_an_empty_parents_cell_leaves_the_link_alone_unless_nulls_clear_it(
    emulator: Emulator, tmp_path: Path, api: str
) -> None:
    rows: list[dict[str, Any]] = [
        {"Name": "root", "Ext_Id__c": "root", "Parent__r.Ext_Id__c": None},
        {"Name": "child", "Ext_Id__c": "child", "Parent__r.Ext_Id__c": "root"},
    ]
    for nulls, kept in (("ignore", True), ("clear", False)):
        job = HIERARCHY.format(api=api, mode=f'{MODES["upsert"]}\nnulls = "{nulls}"')
        shop = Workplace(tmp_path / nulls, url=emulator.url, job=job)
        shop.run(rows[:1])
        assert shop.run(rows).outcome == "succeeded"
        assert shop.run([rows[1] | {"Parent__r.Ext_Id__c": None}]).outcome == "succeeded"
        child = next(record for record in emulator.org.records("Thing__c") if record["Name"] == "child")
        assert (child["Parent__c"] is not None) is kept
