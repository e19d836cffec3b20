"""Why something did not work, in the four kinds that decide what follows, and the one error that leaves here."""

from enum import StrEnum


class FailureKind(StrEnum):
    """What has to happen before another try can succeed."""

    CONFIGURATION = "configuration"
    """A person has to act: it will fail again until then. Counts towards disabling the job."""
    TRANSIENT = "transient"
    """It may pass by itself: network, server error, lock, quota."""
    DATA = "data"
    """The rows themselves are at fault."""
    INTERNAL = "internal"
    """A bug in schedctl."""


class ExportError(Exception):
    """The one exception that leaves a source, a spool or a target.

    ``message`` is one line that names what is wrong and what to change; it never holds a secret or row data.
    ``code`` is a stable word (the vendor's own where there is one, such as ``INVALID_FIELD``).
    ``retry_after`` is the number of seconds that the server asked us to wait, where it did. ``quota`` says that
    what the server grants is used up, for other runs too.
    """

    def __init__(
        self, kind: FailureKind, code: str, message: str, *, retry_after: float | None = None, quota: bool = False
    ) -> None:
        """Keep ``message`` to one line, whatever the server sent."""
        self.kind = kind
        self.code = code
        self.message = " ".join(message.split())
        self.retry_after = retry_after
        self.quota = quota
        super().__init__(f"{code}: {self.message}")


def configuration(code: str, message: str) -> ExportError:
    """Make the error of something only a person can fix."""
    return ExportError(FailureKind.CONFIGURATION, code, message)


def transient(code: str, message: str, *, retry_after: float | None = None) -> ExportError:
    """Make the error of something that may pass by itself."""
    return ExportError(FailureKind.TRANSIENT, code, message, retry_after=retry_after)


def internal(code: str, message: str) -> ExportError:
    """Make the error of something that schedctl itself did wrong."""
    return ExportError(FailureKind.INTERNAL, code, message)
