import random
from itertools import pairwise

from exporter.targets.salesforce.api.client import LONGEST_DELAY, Backoff


def delays(backoff: Backoff, retry_after: float | None = None) -> list[float]:
    found = []
    while (delay := backoff.delay(retry_after)) is not None:
        found.append(delay)
        assert len(found) < 100
    return found


def test_delays_double_around_a_jitter_until_the_limit() -> None:
    found = delays(Backoff(initial_delay=5, limit=4, spread=random.Random(1)))
    assert len(found) == 4
    assert all(base / 2 <= delay <= base * 1.5 for delay, base in zip(found, (5, 10, 20, 40), strict=True))
    assert found != delays(Backoff(initial_delay=5, limit=4, spread=random.Random(2)))


def test_a_delay_never_grows_beyond_reason() -> None:
    found = delays(Backoff(initial_delay=5, limit=90, spread=random.Random(1)))
    assert max(found) <= LONGEST_DELAY * 1.5


def test_without_retries_there_is_no_delay() -> None:
    assert delays(Backoff(initial_delay=5, limit=0, spread=random.Random(1))) == []


def test_an_asked_for_wait_is_kept_but_does_not_shorten_ours() -> None:
    assert delays(Backoff(initial_delay=0, limit=2, spread=random.Random(1)), 30) == [30, 30]
    long = delays(Backoff(initial_delay=100, limit=2, spread=random.Random(1)), 3)
    assert all(first < second for first, second in pairwise([3, *long]))


def test_an_asked_for_wait_beyond_reason_ends_the_tries() -> None:
    assert delays(Backoff(initial_delay=0, limit=9, spread=random.Random(1)), LONGEST_DELAY + 1) == []


def test_no_try_begins_when_the_patience_is_over() -> None:
    assert delays(Backoff(initial_delay=5, limit=9, spread=random.Random(1), patience=0.0)) == []
    assert len(delays(Backoff(initial_delay=0, limit=9, spread=random.Random(1), patience=60.0))) == 9
