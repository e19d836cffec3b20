"""What all settings are made of: strict frozen models, durations, and secrets that cannot be printed.

A validator's ValueError holds the words that follow ``key = value:`` in a fault; a check over several keys raises
:func:`key_fault` to say which of them is wrong.
"""

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Annotated, NoReturn

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
)
from pydantic_core import PydanticCustomError


def is_loopback(host: str) -> bool:
    """Whether a URL's host can only be this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


_DURATION = re.compile(r"([0-9]{1,12})([smhd])")
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_MAX_SECONDS = 36_500 * 86_400  # a century: beyond it, adding a duration to a time overflows sooner or later


def parse_duration(value: object) -> object:
    """Return whole seconds for an integer or for text such as ``90s``, ``10m``, ``6h``, ``7d``.

    Raises ValueError, in words for the user, on anything else and on more than 36,500 days.
    """
    seconds = -1
    if isinstance(value, int) and not isinstance(value, bool):
        seconds = value
    elif isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        seconds = int(match[1]) * _UNIT_SECONDS[match[2]]
    if seconds < 0:
        raise ValueError("a duration is whole seconds, or a number with s, m, h or d in quotes, such as 90s or 10m")
    if seconds > _MAX_SECONDS:
        raise ValueError("use at most 36500d")
    return seconds


def _above_zero(seconds: int) -> int:
    if seconds == 0:
        raise ValueError("use at least 1s")
    return seconds


Duration = Annotated[int, BeforeValidator(parse_duration)]
"""Whole seconds, at least 0."""
PositiveDuration = Annotated[Duration, AfterValidator(_above_zero)]
"""Whole seconds, at least 1."""


_SIZE = re.compile(r"([0-9]{1,12})(KB|MB|GB|TB)")
_UNIT_BYTES = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def parse_size(value: object) -> object:
    """Return whole bytes for an integer or for text such as ``500MB``; raises ValueError, in words for the user."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        return int(match[1]) * _UNIT_BYTES[match[2]]
    raise ValueError("a size is whole bytes, or a number with KB, MB, GB or TB in quotes, such as 500MB")


Size = Annotated[int, BeforeValidator(parse_size)]
"""Whole bytes, at least 0."""


class Settings(BaseModel):
    """The base of all settings: frozen; an unknown key is a fault; no value is bent to fit (``"5"`` is no number)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


def key_fault(key: str, message: str) -> NoReturn:
    """Raise, inside a model's validator, the fault of one key that a check over several keys found."""
    raise PydanticCustomError("key", "{message}", {"key": key, "message": message})


def _not_empty(value: str) -> str:
    if not value.strip():
        raise ValueError("it may not be empty")
    try:
        value.encode()
    except UnicodeEncodeError as error:  # JSON can write one, TOML cannot
        raise ValueError("it holds half a character, such as \\ud800") from error
    return value


Text = Annotated[str, AfterValidator(_not_empty)]
"""Text that says something."""


def check_path(value: str) -> str:
    """Refuse what only a shell would understand, or no system would."""
    if value.startswith("~"):
        raise ValueError("~ is not expanded here: write the whole path")
    if "\0" in value:
        raise ValueError("a path holds no NUL character")
    return value


PathText = Annotated[Text, AfterValidator(check_path)]
"""A path; a relative one is relative to the config file."""


class SecretReference(Settings):
    """Where a secret is kept: exactly one of ``env``, ``file``, ``credential`` and ``keyring``."""

    env: str | None = Field(default=None, description="name of an environment variable")
    file: str | None = Field(default=None, description="path of a file that holds the secret and nothing else")
    credential: str | None = Field(default=None, description="name of a systemd credential (LoadCredential=)")
    keyring: str | None = Field(
        default=None,
        description="service/user of an entry in the system's keyring (extra `keyring`)",
    )
    shared: bool = Field(default=False, description="with `file`: accept a file that other users can read")

    def __str__(self) -> str:
        """Return the reference as the config file writes it."""
        kind = next(kind for kind in _REFERENCE_KEYS if getattr(self, kind) is not None)
        shared = ", shared = true" if self.shared else ""
        return f'{{ {kind} = "{getattr(self, kind)}"{shared} }}'


_REFERENCE_FORMS = '{ env = "NAME" }, { file = "PATH" }, { credential = "NAME" } or { keyring = "SERVICE/USER" }'
_REFERENCE_KEYS = ("env", "file", "credential", "keyring")


def check_secret(value: object) -> SecretStr | SecretReference:
    """Turn what the file says into a SecretStr or a SecretReference; the errors never show the value."""
    if isinstance(value, SecretStr | SecretReference):
        return value
    if isinstance(value, str) and value:
        return SecretStr(value)
    if not isinstance(value, Mapping):
        raise ValueError(f"write the secret in quotes, or better {_REFERENCE_FORMS}")  # noqa: TRY004 - pydantic makes a fault of a ValueError only
    named = [key for key in _REFERENCE_KEYS if key in value]
    if len(named) != 1 or value.keys() - {*_REFERENCE_KEYS, "shared"}:
        raise ValueError(f"a reference names exactly one place: {_REFERENCE_FORMS}")
    place = value[named[0]]
    if not isinstance(place, str) or not place or "\0" in place:
        raise ValueError(f"{named[0]} is text in quotes, and not empty")
    if named[0] == "file":
        check_path(place)
    if named[0] == "credential" and (place in {".", ".."} or "/" in place):
        raise ValueError("a credential has a name, not a path")
    if named[0] == "keyring" and not all(place.rpartition("/")[::2]):
        raise ValueError('a keyring entry is its service and its user, such as "schedctl/crm"')
    shared = value.get("shared", False)
    if not isinstance(shared, bool) or (shared and named[0] != "file"):
        raise ValueError("shared is true or false, and belongs to file")
    return SecretReference.model_validate(dict(value))


Secret = Annotated[SecretStr | SecretReference, BeforeValidator(check_secret)]
"""A secret as the config file gives it: plain text (never printed), or a reference that is resolved when it is used."""


class ConnectionSettings(Settings):
    """The base of all connections."""

    max_running: int | None = Field(
        default=None, ge=1, le=1000, description="runs at once that use this connection, over all daemons; default: any"
    )

    def __reduce__(self) -> NoReturn:
        """Refuse: a pickle would hold the secrets in the clear."""
        raise TypeError(f"{type(self).__name__} cannot be pickled: it may hold secrets")
