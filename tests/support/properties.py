"""How many examples a property test tries: a fifth of what it asks for, or with the profile ``full`` all of them.

``make test`` is to give an answer soon, and other examples each time; ``make torture`` runs
``--hypothesis-profile full``.
"""

from hypothesis import HealthCheck, settings

QUICK, FULL = 20, 100
"""Percent. Tests without a number of their own try as many examples, too."""
LEAST = 10


def register() -> None:
    """Make the profiles known, and the quick one the default."""
    settings.register_profile("quick", max_examples=QUICK, deadline=None)
    settings.register_profile("full", max_examples=FULL, deadline=None)
    settings.load_profile("quick")


def share(count: int) -> int:
    """Return how many of ``count`` examples the profile tries."""
    return max(min(count, LEAST), count * settings().max_examples // FULL)


def examples(count: int, *, suppress: tuple[HealthCheck, ...] = ()) -> settings:
    """Return the settings of a test that tries ``count`` examples in full."""
    return settings(max_examples=share(count), deadline=None, suppress_health_check=suppress)
