"""From references to secrets, and no secret out again: resolving, and masking in whatever is written."""

import os
import re
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote

from pydantic import SecretStr

from exporter.host.regular_files import open_regular
from exporter.masking import hide, written_forms
from exporter.settings.base import SecretReference, Settings

MIN_MASKED = 4
"""A shorter secret is not masked: its letters stand in every other word, and the masks would give it away."""
_MAX_BYTES = 65_536
_PASSWORD_WORD = re.compile(r"\b\w*pass\w*\s*=\s*('(?:\\.|[^'\\])*'?|[^\s&]+)", re.IGNORECASE)
_SEPARATORS = re.compile(r"[\s:/?#@\[\]]+")

_Settings = TypeVar("_Settings", bound=Settings)


class SecretError(Exception):
    """A secret is unavailable. The message, one line, names the key, the reference and the fix; never the secret."""


class UnsafeFileError(Exception):
    """A secret file that other users can read."""


Reader = Callable[[Path, bool], bytes]
"""Reads at most 64 KiB of a file; refuses with UnsafeFileError one that others can read, unless told (``shared``)."""


def is_private(status: os.stat_result) -> bool:
    """Whether only the owner can read or change a file; root may share its own with a group (as PostgreSQL has it)."""
    group = stat.S_IRWXG if status.st_uid != 0 else stat.S_IWGRP
    return not status.st_mode & (stat.S_IRWXO | group)


def read_secret_file(path: Path, shared: bool) -> bytes:  # noqa: FBT001 - a Reader takes it by position
    """Read a secret file: the Reader of :func:`resolve`. Raises OSError, for a pipe too, or UnsafeFileError."""
    with open_regular(path) as file:
        if not shared and not is_private(os.fstat(file.fileno())):
            raise UnsafeFileError
        return file.read(_MAX_BYTES + 1)


def resolve(
    settings: _Settings,
    *,
    environ: Mapping[str, str] | None = None,
    credentials_directory: Path | None = None,
    read: Reader = read_secret_file,
) -> _Settings:
    """Return ``settings`` (a connection) with every reference replaced by its secret, which logs mask from then on.

    systemd's ``$CREDENTIALS_DIRECTORY`` counts where ``credentials_directory`` is not given. Raises SecretError.
    """

    def resolved(key: str, value: object) -> object:
        if isinstance(value, tuple):
            return tuple(resolved(key, each) for each in value)
        if isinstance(value, Mapping):
            return {name: resolved(f"{key}.{name}", each) for name, each in value.items()}
        if isinstance(value, SecretReference):
            value = look_up(key, value, environ=environ, credentials_directory=credentials_directory, read=read)
        if isinstance(value, SecretStr):
            register([value.get_secret_value()])
        return value

    changes = {key: resolved(key, getattr(settings, key)) for key in type(settings).model_fields}
    return settings.model_copy(update=changes)


def look_up(
    key: str,
    reference: SecretReference,
    *,
    environ: Mapping[str, str] | None = None,
    credentials_directory: Path | None = None,
    read: Reader = read_secret_file,
) -> SecretStr:
    """Return the secret that a reference stands for, the value of ``key``. Raises SecretError, as :func:`resolve`."""
    environ = os.environ if environ is None else environ
    directory = credentials_directory
    if directory is None and (given := environ.get("CREDENTIALS_DIRECTORY")):
        directory = Path(given)
    subject = f"{key} = {reference}"
    if reference.env is not None:
        secret = environ.get(reference.env, "")
        fix = "in the daemon's environment (not only in your shell)"
        if reference.env not in environ:
            raise SecretError(f"{subject}: the variable is not set; set it {fix}")
    elif reference.file is not None:
        secret = _from_file(subject, Path(reference.file), read, shared=reference.shared)
        fix = "in that file"
    elif reference.keyring is not None:
        secret = _from_keyring(subject, reference.keyring)
        fix = "in the keyring"
    else:
        name = reference.credential or ""
        fix = f"with LoadCredential={name}:FILE in the systemd unit"
        if directory is None:
            raise SecretError(
                f"{subject}: there are no systemd credentials here ($CREDENTIALS_DIRECTORY is not set); "
                f"give it {fix}, or use {{ file = … }} or {{ env = … }}"
            )
        # systemd keeps these from other users by itself, with access lists that the mode bits do not show
        secret = _from_file(subject, directory / name, read, shared=True)
    secret = secret.rstrip("\r\n")
    if not secret:
        raise SecretError(f"{subject}: it is empty; put the secret {fix}")
    try:
        secret.encode()
    except UnicodeEncodeError:
        raise SecretError(f"{subject}: it is not UTF-8 text; fix it {fix}") from None
    return SecretStr(secret)


def _from_file(subject: str, path: Path, read: Reader, *, shared: bool) -> str:
    try:
        data = read(path, shared)
    except UnsafeFileError:
        fix = f"chmod 600 {path}, or say shared = true beside it"
        raise SecretError(f"{subject}: other users can read {path}; {fix}") from None
    except OSError as error:
        raise SecretError(f"{subject}: {path} cannot be read: {error.strerror or error}") from None
    if len(data) > _MAX_BYTES:
        raise SecretError(f"{subject}: {path} is larger than 64 KiB: name the file that holds the secret alone")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise SecretError(f"{subject}: {path} is not UTF-8 text") from None


def _from_keyring(subject: str, entry: str) -> str:
    service, _, user = entry.rpartition("/")
    try:
        import keyring  # noqa: PLC0415 - an extra, for those whose config names it
    except ImportError:
        raise SecretError(f"{subject}: this needs the extra keyring: pip install 'schedctl[keyring]'") from None
    try:
        secret = keyring.get_password(service, user)
    except Exception as error:  # noqa: BLE001 - each of its backends has errors of its own
        why = " ".join(str(error).split()) or type(error).__name__
        raise SecretError(f"{subject}: the keyring cannot be read here: {why}") from None
    if secret is None:
        fix = f"keyring set {service} {user} makes it, as the daemon's user"
        raise SecretError(f"{subject}: entry not found; {fix}")
    return secret


_lock = threading.Lock()
_registered: dict[str, tuple[str, ...]] = {}
"""The secrets that this process has seen, each with the forms it may be written in."""


def register(secrets: Iterable[str]) -> None:
    """Have :func:`mask` hide these from now on, and the passwords in those that are addresses."""
    global _registered  # noqa: PLW0603 - replaced as a whole, so that readers need no lock
    known = {each for secret in secrets for each in (secret, *passwords_in(secret))}
    new = {secret: written_forms(secret) for secret in known if len(secret) >= MIN_MASKED and secret not in _registered}
    if new:
        with _lock:
            _registered = {**_registered, **new}


def passwords_in(address: str) -> Iterator[str]:
    """Yield what must not be shown of a URL, or of libpq's ``key=value`` words: passwords, as written and decoded.

    A password whose ``/``, ``@`` or ``#`` was not written as a percent code is read as something else by the one or
    the other, who then tells of a host, a port or a database. So its pieces count, too.
    """
    found = [match[1].strip("'") for match in _PASSWORD_WORD.finditer(address)]
    _, mark, rest = address.partition("://")
    user, at, _ = rest.rpartition("@")
    if mark and at and ":" in user:
        password = user.partition(":")[2]
        found += [password, *_SEPARATORS.split(password)]
    for each in found:
        yield from (each, unquote(each))


def mask(text: str, secrets: Iterable[str] | None = None) -> str:
    """Replace secrets (all registered ones, by default) in ``text``, also where quoting, a URL or base64 changed them.

    A secret that is a common word stays where it is no value: see :func:`~exporter.masking.hide`.
    """
    known = (
        _registered.values() if secrets is None else map(written_forms, (s for s in secrets if len(s) >= MIN_MASKED))
    )
    return hide(text, (form for forms in known for form in forms))
