"""Sending one message to one address by apprise, whose home this is. Importing apprise takes 110 ms, so it is late."""

import logging
import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from scheduler.notifications.messages import NoticeText
from scheduler.observability.visible_text import visible, visible_lines
from scheduler.secrets.resolve import mask, register

if TYPE_CHECKING:
    from apprise import AppriseAsset, NotifyBase

    from exporter.http.calls import Line

READ_SECONDS = 15.0
"""How long a web service may take to answer, unless its URL has an ``rto``: apprise's own 4 s are less than some need,
and a service that answers yes after all, later than that, has the notice twice."""
SEND_SECONDS = 180.0
"""How long one message may take, with all that a service asks for before it."""
_LARGEST_ANSWER = 1 << 16
_left: dict[str, threading.Thread] = {}
"""By address, what did not end."""
_TYPES = {"failed": "failure", "disabled": "failure", "partial": "warning", "recovered": "success"}
_TYPES |= {"succeeded": "success", "config": "failure", "disk": "warning"}
_TOKEN = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9_~+/=-]{8,}")
_LOUD = logging.WARNING


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """Whether a message got there, and what stood in the way if it did not: one line, without secrets."""

    arrived: bool
    reason: str = ""


def send(url: str, notice: NoticeText, *, host: str) -> Sent:
    """Send a notice to one apprise address. Never raises; ends within :data:`SEND_SECONDS`, whatever the server does.

    Services have code of their own, which may wait for ever (a mail server that drips): it has a thread, and what does
    not end is left behind. Until that has ended, nothing more goes to its address, so that at most one is left behind.
    """
    from exporter.http.calls import Line  # noqa: PLC0415 - urllib3 takes 0.2 s, for those who send

    register(secrets_in(url))
    left = _left.get(url)
    if left is not None and left.is_alive():
        return Sent(arrived=False, reason=_line(url, "the message before this one is still being sent"))
    line = Line(connect_timeout=SEND_SECONDS, read_timeout=SEND_SECONDS)
    results: list[Sent] = []
    thread = threading.Thread(target=lambda: results.append(_try(url, notice, host, line)), daemon=True, name="notice")
    thread.start()
    thread.join(SEND_SECONDS)
    if not results:
        _left[url] = thread
        line.stop()
        return Sent(arrived=False, reason=_line(url, f"the server did not end its answer within {SEND_SECONDS:.0f} s"))
    _left.pop(url, None)
    return results[0]


def _try(url: str, notice: NoticeText, host: str, line: "Line") -> Sent:
    with _heard() as heard:
        try:
            with line.call(largest=_LARGEST_ANSWER):
                arrived = _send(url, notice, host)
        except Exception as error:  # noqa: BLE001 - 130 services' code, and a notice must never end the daemon
            return Sent(arrived=False, reason=_line(url, f"{type(error).__name__}: {error}"))
    if arrived:
        return Sent(arrived=True)
    if arrived is None:
        return Sent(arrived=False, reason=unusable(url))
    return Sent(arrived=False, reason=_line(url, "; ".join(heard.reasons()) or "it gave no reason"))


def unusable(url: str) -> str:
    """Say that an address is none."""
    scheme = _scheme(url)
    return (
        f"this is no address that apprise can use ({f'it begins with {scheme}://' if scheme else 'it has no scheme'})"
    )


def is_usable(url: str) -> bool:
    """Whether apprise knows what to do with an address; nothing is sent."""
    register(secrets_in(url))
    with _heard():
        return _service(url) is not None


def secrets_in(url: str) -> Iterable[str]:
    """Yield what must not be shown of an address: all of it, its password, and each part that looks like a token."""
    yield from (url, unquote(url))
    parts = _split(url)
    if parts is None:
        return
    if parts.password:
        yield from (parts.password, unquote(parts.password))
    for piece in [*re.split(r"[/@:]", parts.netloc), *_pieces(parts)]:
        if _TOKEN.fullmatch(unquote(piece)):
            yield from (piece, unquote(piece))


def _split(url: str) -> SplitResult | None:
    try:
        return urlsplit(url)
    except ValueError:  # such as a bracket that is not closed
        return None


def _pieces(parts: SplitResult) -> list[str]:
    """Return what stands after the host: in the addresses of most services those are keys."""
    values = [value for values in parse_qs(parts.query).values() for value in values]
    return [piece for piece in [*parts.path.split("/"), *values] if piece]


def _send(url: str, notice: NoticeText, host: str) -> bool | None:
    """Return whether the message arrived; None if the address is no good."""
    from apprise import Apprise  # noqa: PLC0415 - see above

    from exporter.http.calls import limit_others  # noqa: PLC0415 - the same

    service = _service(url)
    if service is None:
        return None
    limit_others()
    if "rto" not in parse_qs(url.partition("?")[2]):
        service.socket_read_timeout = max(service.socket_read_timeout, READ_SECONDS)
    one = Apprise(asset=_asset())
    one.add(service)
    body = visible_lines(f"{notice.body}\n\nschedctl on {host}")
    kind = _TYPES.get(notice.kind, "info")
    title = visible(f"schedctl: {' '.join(notice.subject.split())}")  # a line break would end a mail's header
    return bool(one.notify(title=title, body=body, notify_type=kind, body_format="text"))


def _service(url: str) -> "NotifyBase | None":
    from apprise import Apprise  # noqa: PLC0415 - see above

    return Apprise.instantiate(url, asset=_asset())


@lru_cache(maxsize=1)
def _asset() -> "AppriseAsset":
    """Make apprise do all in the thread that calls it, keep nothing on disk, and take the text as it is.

    With a time-out of its own it would leave a thread behind that keeps the process from ending; the sockets have
    time-outs (15 s each for mail), and all of it has one in :func:`send`.
    """
    from apprise import AppriseAsset, PersistentStoreMode  # noqa: PLC0415 - see above

    options: Mapping[str, Any] = {"app_id": "schedctl", "app_desc": "schedctl", "async_mode": False}
    return AppriseAsset(
        **options, service_timeout=0, allow_templates=False, storage_mode=PersistentStoreMode.MEMORY, language="en"
    )


def _line(url: str, text: str) -> str:
    """Make one line of what went wrong, without secrets, nor anything after the host that is no mail address."""
    parts = _split(url)
    pieces = [piece for piece in _pieces(parts) if "@" not in unquote(piece)] if parts is not None else []
    line = mask(mask(text), [*pieces, *map(unquote, pieces)])
    return f"{_scheme(url)}: {' '.join(line.split())}"[:500]


def _scheme(url: str) -> str:
    """Return what an address begins with, and nothing of one that has no such thing: all of it may be a secret."""
    scheme, mark, _ = url.partition("://")
    return scheme if mark and re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]{0,30}", scheme) else ""


class _heard(logging.Handler):  # noqa: N801 - used as a function of a with statement
    """Collects what apprise logs in this thread: it returns yes or no only. Nothing of it gets into our own log."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._thread = threading.get_ident()
        self._said: list[tuple[int, str]] = []
        self._logger = logging.getLogger("apprise")

    def __enter__(self) -> Self:
        self._logger.propagate = False  # its debug lines hold URLs and bodies
        self._logger.setLevel(logging.DEBUG)
        self._logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep warnings, and of the rest what tells an error."""
        message = record.getMessage()
        if record.thread == self._thread and (record.levelno >= _LOUD or "xception" in message):
            self._said.append((record.levelno, message))

    def reasons(self) -> list[str]:
        """Return what was said, each once; the exceptions behind the warnings last."""
        return list(dict.fromkeys(message for _, message in sorted(self._said, key=lambda said: -said[0])))
