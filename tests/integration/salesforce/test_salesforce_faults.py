"""What goes wrong on the wire, at every request of an export: the rows arrive once all the same, or it is said why."""

import itertools
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.loopback.hostile import bomb
from support.runs.exports import ListLedger, QuickControl, make_context, make_spool, make_target, people
from support.salesforce.small_org import Fault, Reply, SmallOrg, small_org

from exporter.events import Event, Retrying
from exporter.failures import ExportError, FailureKind

REQUESTS = {
    "login": r"POST /services/oauth2/token",
    "describe": r"GET .*/describe",
    "job create": r"POST .*/job$",
    "batch send": r"POST .*/batch$",
    "batch list": r"GET .*/batch$",
    "batch result": r"GET .*/result$",
    "job close": r"POST .*/job/\w+$",
}
PAGE = Reply(503, b"<html><body>Down for maintenance</body></html>", "text/html")
FAULTS: dict[str, str | Reply] = {
    "answer lost": "lose",
    "request lost": "drop",
    "answer cut": "cut",
    "web page": PAGE,
    "server error": Reply(500, b""),
    "gateway": Reply(502, b"Bad Gateway", "text/plain"),
    "busy": Reply(429, b"", headers=(("Retry-After", "7"),)),
    "empty answer": Reply(200, b""),
    "wrong answer": Reply(200, b"<html></html>", "text/html"),
    "brackets": Reply(200, b"[" * 200_000),
    "bomb": Reply(200, bomb(100_000_000), headers=(("Content-Encoding", "gzip"),)),
    "an Id that leads elsewhere": Reply(
        200,
        b'<jobInfo xmlns="http://www.force.com/2009/06/asyncapi/dataload"><id>../../x</id><state>Open</state></jobInfo>',
        "application/xml",
    ),
}
SESSION = {
    "400": Reply(
        400,
        b'<error xmlns="http://www.force.com/2009/06/asyncapi/dataload"><exceptionCode>InvalidSessionId</exceptionCode>'
        b"<exceptionMessage>Invalid session id</exceptionMessage></error>",
        "application/xml",
    ),
    "401": Reply(401, b'[{"errorCode":"INVALID_SESSION_ID","message":"Session expired or invalid"}]'),
}


@pytest.fixture
def org() -> Iterator[SmallOrg]:
    with small_org() as served:
        yield served


def assert_each_row_once(org: SmallOrg, count: int) -> None:
    assert sorted(org.values("Ext_Id__c")) == sorted(key for _, key in people(count))


@pytest.mark.parametrize("mode", ["append", "upsert"])
@pytest.mark.parametrize(("request_", "fault"), list(itertools.product(REQUESTS, FAULTS)))
def test_a_fault_at_any_request_loses_and_doubles_no_row(
    org: SmallOrg, tmp_path: Path, request_: str, fault: str, mode: str
) -> None:
    for at in (1, 2):
        org.records.clear()
        org.faults[:] = [Fault(pattern=REQUESTS[request_], how=FAULTS[fault], at=frozenset({at}))]
        options = {"mode": "update", "upsert": True, "key": "Ext_Id__c"} if mode == "upsert" else {}
        ledger = ListLedger()
        spool = make_spool(tmp_path / f"s{at}", people(5))
        report = make_target(org.url, **options).export(spool, make_context(ledger))
        assert (report.accepted, report.rejected) == (5, 0)
        assert_each_row_once(org, 5)
        assert org.faults[0].seen >= 1
        if mode == "append":  # even where the answer was lost, a batch was handed over once only
            taken = [batch.content for job in org.jobs.values() for batch in job.batches]
            assert len(taken) == 3
            org.jobs.clear()


@pytest.mark.parametrize("request_", [name for name in REQUESTS if name != "login"])
@pytest.mark.parametrize("form", sorted(SESSION))
def test_an_expired_session_means_one_new_login_and_the_same_bulk_job(
    org: SmallOrg, tmp_path: Path, request_: str, form: str
) -> None:
    org.faults.append(Fault(pattern=REQUESTS[request_], how=SESSION[form]))
    control = QuickControl()
    report = make_target(org.url).export(
        make_spool(tmp_path / "s", people(5)), make_context(ListLedger(), control=control)
    )
    assert report.accepted == 5
    assert_each_row_once(org, 5)
    assert (org.logins, len(org.jobs)) == (2, 1)


@pytest.mark.parametrize("request_", ["describe", "batch send", "batch list", "job create"])
def test_a_new_session_that_is_refused_too_is_configuration(org: SmallOrg, tmp_path: Path, request_: str) -> None:
    org.faults.append(Fault(pattern=REQUESTS[request_], how=SESSION["400"], at=frozenset(range(1, 100))))
    with pytest.raises(ExportError, match="a new login is refused too") as caught:
        make_target(org.url).export(make_spool(tmp_path / "s", people(2)), make_context(ListLedger()))
    assert caught.value.kind is FailureKind.CONFIGURATION
    assert org.logins <= 6


def test_a_session_that_ends_again_right_after_the_new_login_is_renewed_once_more(
    org: SmallOrg, tmp_path: Path
) -> None:
    org.faults.append(Fault(pattern=REQUESTS["batch send"], how=SESSION["400"], at=frozenset({1, 2})))
    report = make_target(org.url).export(
        make_spool(tmp_path / "s", people(5)), make_context(ListLedger(), control=QuickControl())
    )
    assert report.accepted == 5
    assert_each_row_once(org, 5)
    assert (org.logins, len(org.jobs)) == (3, 1)


@pytest.mark.parametrize("request_", list(REQUESTS))
@pytest.mark.parametrize("fault", ["answer lost", "request lost", "web page", "brackets", "bomb"])
def test_a_fault_that_stays_is_transient_and_a_later_attempt_ends_well(
    org: SmallOrg, tmp_path: Path, request_: str, fault: str
) -> None:
    org.faults.append(Fault(pattern=REQUESTS[request_], how=FAULTS[fault], at=frozenset(range(1, 1000))))
    ledger, events, control = ListLedger(), list[Event](), QuickControl()
    spool = make_spool(tmp_path / "s", people(5))
    target = make_target(org.url)
    if request_ == "job close" or (request_, fault) == ("batch send", "answer lost"):
        assert target.export(spool, make_context(ledger, control=control, events=events)).accepted == 5
    else:
        with pytest.raises(ExportError) as caught:
            target.export(spool, make_context(ledger, control=control, events=events))
        assert caught.value.kind is FailureKind.TRANSIENT
        assert len([event for event in events if isinstance(event, Retrying)]) == 3
    org.faults.clear()
    assert make_target(org.url).export(spool, make_context(ledger)).accepted == 5
    assert_each_row_once(org, 5)


@pytest.mark.parametrize("mode", ["append", "upsert"])
@pytest.mark.parametrize("line", ['"003000000000001","1","true",""', '"","","",""', '"","true","true",""', ""])
def test_a_result_that_contradicts_itself_refuses_no_row(org: SmallOrg, tmp_path: Path, mode: str, line: str) -> None:
    """A row that was called refused went in twice, by schedctl retry --rejected."""
    sick = f'"Id","Success","Created","Error"\n"003000000000000","true","true",""\n{line}\n'
    org.faults.append(Fault(pattern=REQUESTS["batch result"], how=Reply(200, sick.encode(), "text/csv")))
    options = {"mode": "update", "upsert": True, "key": "Ext_Id__c"} if mode == "upsert" else {}
    spool, ledger, control = make_spool(tmp_path / "s", people(2)), ListLedger(), QuickControl()
    org.faults[0].at = frozenset(range(1, 100))
    with pytest.raises(ExportError) as caught:
        make_target(org.url, **options).export(spool, make_context(ledger, control=control))
    assert (caught.value.kind, caught.value.code) == (FailureKind.TRANSIENT, "UNREADABLE_ANSWER")
    with pytest.raises(ExportError):
        make_target(org.url, **options).abort(spool, make_context(ledger, control=control))
    assert ledger.rejected == {}
    assert "batch.settled" not in ledger.steps()
    org.faults.clear()
    report = make_target(org.url, **options).export(spool, make_context(ledger))
    assert (report.accepted, report.rejected) == (2, 0)
    assert_each_row_once(org, 2)


def test_one_id_for_two_rows_of_an_insert_is_no_result(org: SmallOrg, tmp_path: Path) -> None:
    sick = '"Id","Success","Created","Error"\n' + '"003000000000000","true","true",""\n' * 2
    org.faults.append(Fault(pattern=REQUESTS["batch result"], how=Reply(200, sick.encode(), "text/csv")))
    events: list[Event] = []
    report = make_target(org.url).export(
        make_spool(tmp_path / "s", people(2)), make_context(ListLedger(), control=QuickControl(), events=events)
    )
    assert report.accepted == 2
    assert [event.code for event in events if isinstance(event, Retrying)] == ["UNREADABLE_ANSWER"]


@pytest.mark.parametrize("rest", ["", '"003000000000000","1","true",""\n'])
def test_a_stop_settles_the_other_batches_of_one_whose_result_is_sick(org: SmallOrg, tmp_path: Path, rest: str) -> None:
    """A result without a line said that the batch had not arrived, and its rows were doubled by the next run."""
    spool, ledger, control = make_spool(tmp_path / "s", people(6)), ListLedger(), QuickControl()
    sick = Reply(200, f'"Id","Success","Created","Error"\n{rest}'.encode(), "text/csv")
    org.faults.append(Fault(pattern=REQUESTS["batch result"], how="drop", at=frozenset(range(1, 100))))
    with pytest.raises(ExportError):
        make_target(org.url).export(spool, make_context(ledger, control=control))
    first = next(iter(org.jobs.values())).batches[0].id
    org.faults[:] = [Fault(pattern=rf"GET .*/{first}/result$", how=sick, at=frozenset(range(1, 100)))]
    with pytest.raises(ExportError):
        make_target(org.url).abort(spool, make_context(ledger, control=control))
    assert ledger.steps().count("batch.settled") == 2
    assert "batch.absent" not in ledger.steps()
    assert ledger.rejected == {}


def test_a_lost_answer_to_a_batch_is_settled_in_the_same_bulk_job(org: SmallOrg, tmp_path: Path) -> None:
    org.faults.append(Fault(pattern=REQUESTS["batch send"], how="lose", at=frozenset({2})))
    make_target(org.url).export(make_spool(tmp_path / "s", people(6)), make_context(ListLedger()))
    assert len(org.jobs) == 1
    assert org.count("/request$") == 1


def test_a_batch_that_did_not_arrive_is_sent_again_only_when_its_bulk_job_is_closed(
    org: SmallOrg, tmp_path: Path
) -> None:
    org.faults.append(Fault(pattern=REQUESTS["batch send"], how="drop", at=frozenset({2})))
    late: list[str] = []

    def look(call: str) -> None:
        if call.endswith("/batch") and call.startswith("POST") and len(org.jobs) == 2 and not late:
            late.append(next(iter(org.jobs.values())).state)

    org.on_call = look
    make_target(org.url).export(make_spool(tmp_path / "s", people(6)), make_context(ListLedger()))
    assert late == ["Closed"]
    assert_each_row_once(org, 6)


def test_a_peer_that_never_answers_is_given_up_after_the_read_timeout(org: SmallOrg, tmp_path: Path) -> None:
    org.faults.append(Fault(pattern=REQUESTS["batch send"], how="hang"))
    report = make_target(org.url, connection={"read_timeout": 1}).export(
        make_spool(tmp_path / "s", people(2)), make_context(ListLedger())
    )
    assert report.accepted == 2
    assert_each_row_once(org, 2)


def test_retries_wait_longer_each_time_with_jitter_and_as_long_as_they_are_told(org: SmallOrg, tmp_path: Path) -> None:
    org.faults += [
        Fault(pattern="describe", how="drop", at=frozenset({1, 2, 3})),
        Fault(pattern=r"POST .*/job$", how=FAULTS["busy"]),
    ]
    control, events = QuickControl(), list[Event]()
    connection = {"initial_retry_delay": 4, "retry_limit": 3}
    make_target(org.url, connection=connection).export(
        make_spool(tmp_path / "s", people(1)), make_context(ListLedger(), control=control, events=events)
    )
    retries = [event for event in events if isinstance(event, Retrying)]
    assert [round(event.seconds, 6) for event in retries] == [round(wait, 6) for wait in control.waits[:4]]
    for event, base in zip(retries[:3], (4, 8, 16), strict=True):
        assert base / 2 <= event.seconds <= base * 1.5
        assert event.seconds != base
        assert event.code == "CONNECTION_LOST"
    assert retries[3].seconds >= 7
    assert retries[3].code == "HTTP_429"


def test_a_longer_wait_than_a_run_should_hold_is_left_to_the_next_attempt(org: SmallOrg, tmp_path: Path) -> None:
    org.faults.append(Fault(pattern="describe", how=Reply(503, b"", headers=(("Retry-After", "3600"),))))
    with pytest.raises(ExportError) as caught:
        make_target(org.url).export(make_spool(tmp_path / "s", people(1)), make_context(ListLedger()))
    assert (caught.value.kind, caught.value.retry_after) == (FailureKind.TRANSIENT, 3600)


def test_retry_after_may_be_a_time_by_the_servers_clock(org: SmallOrg, tmp_path: Path) -> None:
    until = (("Retry-After", "Mon, 23 Nov 2099 00:00:00 GMT"),)
    org.faults.append(Fault(pattern="describe", how=Reply(503, b"", headers=until)))
    with pytest.raises(ExportError) as caught:
        make_target(org.url).export(make_spool(tmp_path / "s", people(1)), make_context(ListLedger()))
    assert caught.value.retry_after is not None
    assert caught.value.retry_after > 1_000_000


@pytest.mark.parametrize(
    ("code", "message"),
    [("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."), ("ExceededQuota", "ApiBatchItems Limit exceeded.")],
)
def test_a_used_up_quota_is_transient_and_not_hammered(org: SmallOrg, tmp_path: Path, code: str, message: str) -> None:
    inner = f"<exceptionCode>{code}</exceptionCode><exceptionMessage>{message}</exceptionMessage>"
    org.faults.append(
        Fault(
            pattern=REQUESTS["batch send"],
            how=Reply(400, f"<error>{inner}</error>".encode(), "application/xml"),
            at=frozenset({2}),
        )
    )
    ledger = ListLedger()
    spool = make_spool(tmp_path / "s", people(6))
    with pytest.raises(ExportError, match=message) as caught:
        make_target(org.url).export(spool, make_context(ledger))
    assert (caught.value.kind, caught.value.code) == (FailureKind.TRANSIENT, code)
    assert org.count(REQUESTS["batch send"]) == 2
    assert make_target(org.url).export(spool, make_context(ledger)).accepted == 6
    assert_each_row_once(org, 6)
    assert len(org.jobs) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("request_", ["login", "describe", "batch send"])
def test_a_redirect_is_never_followed(org: SmallOrg, tmp_path: Path, request_: str, status: int) -> None:
    with small_org() as elsewhere:
        away = (("Location", f"{elsewhere.url}/services/oauth2/token"),)
        org.faults.append(Fault(pattern=REQUESTS[request_], how=Reply(status, b"", headers=away)))
        with pytest.raises(ExportError, match="REDIRECTED") as caught:
            make_target(org.url).export(make_spool(tmp_path / "s", people(1)), make_context(ListLedger()))
        assert caught.value.kind is FailureKind.CONFIGURATION
        assert "127.0.0.1" in caught.value.message
        assert elsewhere.calls == []


def test_a_host_that_takes_no_connections_is_transient(tmp_path: Path) -> None:
    with small_org() as gone:
        url = gone.url
    control = QuickControl()
    with pytest.raises(ExportError, match="takes no connections") as caught:
        make_target(url).export(make_spool(tmp_path / "s", people(1)), make_context(ListLedger(), control=control))
    assert (caught.value.kind, caught.value.code) == (FailureKind.TRANSIENT, "CONNECTION_REFUSED")
    assert len(control.waits) == 3


def test_a_host_without_an_address_is_transient_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*_arguments: object, **_options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    with pytest.raises(ExportError, match=r"no-such-org\.invalid") as caught:
        make_target("https://no-such-org.invalid").export(
            make_spool(tmp_path / "s", people(1)), make_context(ListLedger())
        )
    assert (caught.value.kind, caught.value.code) == (FailureKind.TRANSIENT, "HOST_UNKNOWN")


def test_a_second_fault_is_told_by_its_own_name_and_not_by_the_first_ones(org: SmallOrg, tmp_path: Path) -> None:
    """A refused connection while an unanswered batch is looked for must not pass for a batch that was never sent."""
    spool = make_spool(tmp_path / "s", people(2))
    ledger = ListLedger()
    org.faults += [
        Fault(pattern=REQUESTS["batch send"], how="lose"),
        Fault(pattern=REQUESTS["batch list"], how="cut", at=frozenset(range(1, 100))),
    ]
    with pytest.raises(ExportError) as caught:
        make_target(org.url).export(spool, make_context(ledger))
    assert caught.value.code == "TRUNCATED_ANSWER"
    assert ledger.kept[-1].step == "batch.send"
    org.faults.clear()
    assert make_target(org.url).export(spool, make_context(ledger)).accepted == 2
    assert_each_row_once(org, 2)


def test_a_batch_that_arrives_long_after_it_was_given_up_is_refused(org: SmallOrg, tmp_path: Path) -> None:
    """The request lay in some buffer while it was looked for, and is acted on when its rows were sent again."""
    org.faults.append(Fault(pattern=REQUESTS["batch send"], how="late"))

    def let_go(call: str) -> None:
        if call.endswith("/result") and not org.late_replies:
            org.act_late()

    org.on_call = let_go
    target = make_target(org.url, connection={"read_timeout": 1})
    assert target.export(make_spool(tmp_path / "s", people(2)), make_context(ListLedger())).accepted == 2
    assert [reply.status for reply in org.late_replies] == [400]
    assert_each_row_once(org, 2)
