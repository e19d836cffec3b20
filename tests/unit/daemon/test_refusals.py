"""A state database that refuses is told when that begins, now and then with a count, and when it ends."""

import logging
from typing import Any

import pytest

from scheduler.daemon.storage_outage import AGAIN_SECONDS, Refusals
from storage.engine.errors import StorageError

AWAY, FULL = StorageError("UNREACHABLE", "it is away"), StorageError("FULL", "no room")


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def refusals(clock: Clock) -> Refusals:
    return Refusals(clock)


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """Return the events that were logged."""
    return [dict(record.msg) for record in caplog.records if isinstance(record.msg, dict)]


@pytest.fixture(autouse=True)
def _from_info_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="schedctl")


def test_a_thousand_refusals_in_a_minute_are_one_line_and_the_next_minute_brings_their_count(
    clock: Clock, refusals: Refusals, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(1000):
        refusals.refused(AWAY)
        clock.now += AGAIN_SECONDS / 1001
    assert refusals.fault == "it is away"
    clock.now = 100.0 + AGAIN_SECONDS
    refusals.refused(AWAY)
    refusals.refused(AWAY)
    logged = lines(caplog)
    assert [(line["event"], line["code"], line["refusals"]) for line in logged] == [
        ("storage.refused", "UNREACHABLE", 1),
        ("storage.refused", "UNREACHABLE", 1001),
    ]
    assert {line["level"] for line in logged} == {"error"}


def test_another_kind_of_refusal_is_told_at_once_and_two_in_turn_are_told_once_each(
    refusals: Refusals, caplog: pytest.LogCaptureFixture
) -> None:
    for error in (AWAY, FULL, AWAY, FULL):
        refusals.refused(error)
    logged = lines(caplog)
    assert [line["code"] for line in logged] == ["UNREACHABLE", "FULL"]


def test_its_end_is_told_once_with_how_long_it_took_and_the_next_one_begins_anew(
    clock: Clock, refusals: Refusals, caplog: pytest.LogCaptureFixture
) -> None:
    refusals.answered()
    refusals.refused(AWAY)
    refusals.refused(AWAY)
    clock.now += 7.04
    refusals.answered()
    refusals.answered()
    assert refusals.fault == ""
    refusals.refused(AWAY)
    logged = lines(caplog)
    assert [line["event"] for line in logged] == ["storage.refused", "storage.answers_again", "storage.refused"]
    assert (logged[1]["refusals"], logged[1]["seconds"], logged[1]["level"]) == (2, 7.0, "info")
    assert logged[2]["refusals"] == 1
