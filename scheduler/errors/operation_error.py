"""The one error of an operation that a person asked for; its kind decides the exit code. Pure."""

from collections.abc import Iterable
from enum import StrEnum


class ErrorKind(StrEnum):
    """Why nothing came of it."""

    FAILED = "failed"
    """It ran and failed."""
    USAGE = "usage"
    """It was asked for in a way that makes no sense."""
    NOT_FOUND = "not_found"
    """There is no such thing."""
    CONFIG = "config"
    """The config file has faults."""
    STORAGE = "storage"
    """The state database cannot be used."""
    INTERNAL = "internal"
    """A bug in schedctl."""


class OperationError(Exception):
    """What was asked for cannot be done. ``message`` is one line that names what to change; never a secret.

    ``faults`` are the single things to fix, one line each, where there are several.
    """

    def __init__(self, kind: ErrorKind, message: str, *, faults: Iterable[str] = ()) -> None:
        """Keep ``message`` to one line."""
        self.kind = kind
        self.message = " ".join(message.split())
        self.faults = tuple(" ".join(fault.split()) for fault in faults)
        super().__init__(self.message)


def usage(message: str, *, faults: Iterable[str] = ()) -> OperationError:
    """Make the error of a request that makes no sense."""
    return OperationError(ErrorKind.USAGE, message, faults=faults)


def not_found(message: str) -> OperationError:
    """Make the error of a thing that is not there."""
    return OperationError(ErrorKind.NOT_FOUND, message)


def failed(message: str) -> OperationError:
    """Make the error of something that ran and failed."""
    return OperationError(ErrorKind.FAILED, message)
