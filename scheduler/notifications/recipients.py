"""Who is mailed how the runs of one job end: an activation's notifications. Pure.

Treasure Data takes up to 20 recipients for an activation, with a box for success and one for failure.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from exporter.settings.base import Settings, key_fault
from scheduler.notifications.messages import Ended, NoticeText, Told, notices_of

MOST = 20
"""Recipients of one job."""
SUCCESS: tuple[Told, ...] = ("succeeded", "recovered")
FAILURE: tuple[Told, ...] = ("failed", "partial", "disabled")
_ADDRESS = re.compile(r"[!#-'*+\--9=?A-Z^-~]{1,64}@[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
"""As people have them: no quotes, comments, spaces or names beside them, and a host name in ASCII."""


def check_address(value: str) -> str:
    """Return the mail address; raises ValueError, in words for the user, for anything else."""
    if not _ADDRESS.fullmatch(value):
        raise ValueError("write a mail address, such as ops@example.com")
    return value


_Address = Annotated[str, AfterValidator(check_address)]


class Email(Settings):
    """Whom to mail how each run ends, through ``smtp`` of ``[notify]``."""

    success: tuple[_Address, ...] = Field(
        default=(),
        strict=False,
        description="who is mailed when a run has succeeded",
        examples=['["team@example.com"]'],
    )
    failure: tuple[_Address, ...] = Field(
        default=(),
        strict=False,
        description="who is mailed when a run has failed permanently, some rows were rejected, or the job is disabled",
        examples=['["ops@example.com"]'],
    )

    @model_validator(mode="after")
    def _check_number(self) -> Self:
        if len({*self.success, *self.failure}) > MOST:
            key_fault("failure" if self.failure else "success", f"a job has {MOST} recipients at most: use a list")
        return self

    @property
    def is_empty(self) -> bool:
        """Whether nobody is mailed."""
        return not self.success and not self.failure


def mails_of(ended: Ended, email: Mapping[str, Any] | None) -> Iterator[tuple[NoticeText, tuple[str, ...]]]:
    """Yield what the end of a run gives to mail, with the recipients; ``email`` is that of the job's definition."""
    for key, told in (("success", SUCCESS), ("failure", FAILURE)):
        recipients = tuple(dict.fromkeys((email or {}).get(key) or ()))
        if recipients:
            yield from ((notice, recipients) for notice in notices_of(ended, told))
