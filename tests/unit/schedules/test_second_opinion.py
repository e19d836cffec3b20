"""croniter's second opinion."""

import os
import random
from datetime import UTC, datetime

import pytest
from support.cron_oracle import random_expression

from scheduler.schedules import croniter_check
from scheduler.schedules.croniter_check import disagreement
from scheduler.schedules.expression import CronExpression, parse

SEED = int(os.environ.get("SCHEDCTL_SEED", "20261123"))
NOW = datetime(2026, 11, 23, 12, 34, 56, 789, tzinfo=UTC)


def test_nothing_is_said_of_expressions_that_both_read_alike() -> None:
    rng = random.Random(SEED)
    for _ in range(250):
        cron = parse(
            random_expression(rng),
            step=rng.choice(("multiples", "offset")),
            day_match=rng.choice(("or", "and", "more-often")),
        )
        now = datetime.fromtimestamp(rng.randint(631_152_000, 2_145_916_800), UTC)
        assert disagreement(cron, now) is None, f"{cron} {cron.step} {cron.day_match} at {now} (seed {SEED})"


@pytest.mark.parametrize("day_match", ["or", "and", "more-often"])
@pytest.mark.parametrize("text", ["0 0 1-31 * 1", "0 0 1 * 0-6", "0 0 */1 * */1", "0 0 29 2 1", "7-7 1-1 1 1 0-7"])
def test_full_fields_and_rare_dates_are_no_false_alarm(text: str, day_match: str) -> None:
    """Croniter has rules of its own for full fields and for ranges of one value; explicit lists keep clear of them."""
    assert disagreement(parse(text, day_match=day_match), NOW) is None


@pytest.mark.parametrize("text", ["", "0 0 30 2 *", "0 0 29 2 *"])
def test_what_never_or_hardly_fires_has_nothing_to_compare(text: str) -> None:
    assert disagreement(parse(text), datetime(2096, 3, 1, tzinfo=UTC)) is None


def test_a_disagreement_names_both_times(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(_cron: CronExpression, start: datetime, count: int) -> list[datetime]:
        return [start] * count

    monkeypatch.setattr(croniter_check, "_theirs", wrong)
    assert disagreement(parse("0 3 * * *"), NOW) == (
        "internal check failed: schedctl says '0 3 * * *' fires at 2026-11-24 03:00, "
        "croniter says 2026-11-23 12:34; please report it"
    )


def test_an_error_of_croniters_is_a_disagreement_and_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_cron: CronExpression, _start: datetime, _count: int) -> str:
        return "bad"

    monkeypatch.setattr(croniter_check, "_theirs", broken)
    assert "croniter refuses '0 3 * * *' (bad)" in str(disagreement(parse("0 3 * * *"), NOW))
