import json
from dataclasses import asdict

from exporter.ledger import Entry, Mark
from exporter.targets.salesforce.delivery.export_state import Sending, Standing
from exporter.targets.salesforce.delivery.journal import Effect, Fact


def done(step: str, batch: int | None = None, **data: object) -> Entry:
    return Entry(step=step, mark=Mark.DONE, batch=batch, data=data)


def intended(step: str, batch: int | None = None, **data: object) -> Entry:
    return Entry(step=step, mark=Mark.INTENDED, batch=batch, data=data)


def fold(*entries: Entry) -> Standing:
    """Fold entries as they come back from a store: plain text and numbers."""
    standing = Standing()
    for entry in entries:
        plain = json.loads(json.dumps(asdict(entry)))
        standing.follow(Entry(step=plain["step"], mark=Mark(plain["mark"]), batch=plain["batch"], data=plain["data"]))
    return standing


OPENED = (intended(Effect.JOB_CREATE), done(Effect.JOB_CREATE, id="750a"))
SENT = {"bulk_job": "750a", "round": 0, "sha256": "00", "rows": 5}
SETTLED = {"round": 0, "accepted": 3, "rejected": 1, "refusals": [{"code": "X", "message": "y", "count": 1}]}


def test_a_bulk_job_is_used_until_the_first_intent_to_end_it_and_unclosed_until_that_is_done() -> None:
    assert (fold(*OPENED).bulk_job, fold(*OPENED).unclosed) == ("750a", {"750a"})
    ending = fold(*OPENED, intended(Effect.JOB_CLOSE, bulk_job="750a"))
    assert (ending.bulk_job, ending.unclosed, ending.over) == (None, {"750a"}, set())
    ended = fold(*OPENED, done(Effect.JOB_CLOSE, bulk_job="750a", id="Closed"))
    assert (ended.bulk_job, ended.unclosed, ended.over) == (None, set(), {"750a"})


def test_a_bulk_job_of_which_only_the_intent_is_known_is_not_used() -> None:
    standing = fold(OPENED[0])
    assert (standing.bulk_job, standing.began) == (None, True)


def test_a_sending_is_of_unknown_fate_until_it_is_done() -> None:
    standing = fold(*OPENED, intended(Effect.BATCH_SEND, 1, **SENT))
    assert standing.sendings[1] == Sending(batch=1, round=0, bulk_job="750a", sha256="00", rows=5, id=None)
    standing = fold(*OPENED, intended(Effect.BATCH_SEND, 1, **SENT), done(Effect.BATCH_SEND, 1, **SENT, id="751a"))
    assert standing.sendings[1].id == "751a"
    assert standing.arrived == {"751a"}


def test_a_batch_is_settled_when_none_of_its_rows_is_locked() -> None:
    sent = (*OPENED, done(Effect.BATCH_SEND, 1, **SENT, id="751a"))
    first = done(Fact.BATCH_SETTLED, 1, **SETTLED, locked="4")
    standing = fold(*sent, first)
    assert (standing.settled, standing.locked, standing.rounds, standing.sendings) == (set(), {1: "4"}, {1: 1}, {})
    again = done(Effect.BATCH_SEND, 1, bulk_job="750a", round=1, sha256="01", rows=1, id="751b")
    last = done(Fact.BATCH_SETTLED, 1, round=1, accepted=1, rejected=0, refusals=[], locked="")
    standing = fold(*sent, first, again, last)
    assert (standing.settled, standing.locked, standing.sendings) == ({1}, {}, {})
    assert (standing.tallies[1].sent, standing.tallies[1].accepted, standing.tallies[1].rejected) == (5, 4, 1)
    report = standing.report(5)
    assert (report.accepted, report.rejected, report.adds_up, report.refusals[0].count) == (4, 1, True, 1)


def test_an_absent_batch_is_unsent_again_and_counts_only_if_salesforce_had_it() -> None:
    sent = (*OPENED, intended(Effect.BATCH_SEND, 1, **SENT))
    standing = fold(*sent, done(Fact.BATCH_ABSENT, 1, unprocessed=False))
    assert (standing.sendings, standing.absences) == ({}, {1: 0})
    assert fold(*sent, done(Fact.BATCH_ABSENT, 1, unprocessed=True)).absences == {1: 1}


def test_a_batch_all_of_whose_keys_are_refused_is_settled() -> None:
    refused = {"numbers": "1-5", "rejected": 5, "refusals": []}
    assert fold(done(Fact.KEYS_REFUSED, 1, **refused, left=0)).settled == {1}
    assert fold(done(Fact.KEYS_REFUSED, 1, **refused, left=2)).settled == set()


def test_steps_of_others_are_passed_over() -> None:
    standing = fold(done("file.renamed", path="x"), done("file.written", 1, path="x"))
    assert standing.report(0).adds_up
    assert not standing.began
