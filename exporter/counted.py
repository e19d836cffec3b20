"""A number with its noun, as a sentence needs it. Pure."""


def counted(number: int, noun: str) -> str:
    """Return ``1 row`` or ``2,000 rows``; ``noun`` is one that takes an ``s``, or an ``es`` behind ``ch``."""
    ending = "" if number == 1 else "es" if noun.endswith("ch") else "s"
    return f"{number:,} {noun}{ending}"
