"""What the parts of a query are. Pure."""

from dataclasses import dataclass
from enum import Enum, auto


class Kind(Enum):
    """What a token is."""

    WORD = auto()
    NUMBER = auto()
    SIGN = auto()
    """One character of punctuation, or of an operator."""
    TEXT = auto()
    """A string with all that belongs to it, such as ``E'…'`` and ``$$…$$``."""
    QUOTED = auto()
    """A name in quotes."""


@dataclass(frozen=True, slots=True)
class Token:
    """A part of a query; ``end`` is the place behind it. What lies between tokens is spaces and comments."""

    kind: Kind
    start: int
    end: int
