"""The ``[notify]`` table of the config file, checked. Pure."""

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from exporter.settings.base import Secret, SecretReference, Settings
from scheduler.notifications.messages import Told


def _check_notify_url(value: SecretStr | SecretReference) -> SecretStr | SecretReference:
    if isinstance(value, SecretStr) and not value.get_secret_value().partition("://")[2]:
        raise ValueError("write an address with a scheme, such as mailtos://user:password@host?to=me@example.com")
    return value


MAIL_SCHEMES = ("mailto", "mailtos")


NO_RELAY = 'recipients need a mail server: set smtp = "mailtos://user:password@host?from=…" under [notify]'


def _check_relay(value: SecretStr | SecretReference) -> SecretStr | SecretReference:
    if isinstance(value, SecretStr) and value.get_secret_value().partition("://")[0].lower() not in MAIL_SCHEMES:
        raise ValueError("write a mail server, such as mailtos://user:password@host?from=schedctl@example.com")
    return value


class NotifySettings(Settings):
    """Whom to tell what."""

    urls: tuple[Annotated[Secret, AfterValidator(_check_notify_url)], ...] = Field(
        default=(), strict=False, description="apprise addresses: plain text, or references to secrets"
    )
    on: tuple[Told, ...] = Field(
        default=("failed", "partial", "disabled", "recovered"),
        strict=False,
        description="what is notified of jobs; `notify` of a job overrides it",
    )
    smtp: Annotated[Secret, AfterValidator(_check_relay)] | None = Field(
        default=None,
        description="the mail server for the recipients in `email` of jobs: `mailtos://user:password@host?from=…`",
    )
