"""Logging: named events with fields, one pipeline for our loggers and everybody else's, no secret in any line."""

import io
import json
import logging
import os
import stat
import sys
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from typing import Any, Literal, TextIO, cast

import structlog
from structlog.stdlib import BoundLogger, ProcessorFormatter
from structlog.typing import Processor

from scheduler.observability.visible_text import visible, visible_json, visible_lines
from scheduler.secrets.resolve import mask

Mode = Literal["console", "json", "journal"]
_ROOT = "schedctl"
_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
"""syslog's numbers, which journald reads from ``<N>`` (sd-daemon(3))."""
_QUIET = ("apscheduler", "urllib3", "alembic", "sqlalchemy", "tdclient")
"""Libraries that tell each step: warnings only. SQLAlchemy's statements would bring row data, td-client's its key."""


def get_logger(name: str) -> BoundLogger:
    """Return the logger ``schedctl.NAME``; ``name`` may begin with ``schedctl`` already.

    Events are names with fields: ``log.info("run.claimed", run=12)``. What is bound with
    ``structlog.contextvars.bound_contextvars`` (job and run) goes along in every line of that thread.
    """
    full = name if name == _ROOT or name.startswith(f"{_ROOT}.") else f"{_ROOT}.{name}"
    logger = structlog.wrap_logger(
        logging.getLogger(full),
        processors=[structlog.stdlib.filter_by_level, *_common(), ProcessorFormatter.wrap_for_formatter],
        wrapper_class=BoundLogger,
        cache_logger_on_first_use=True,
    )
    return cast("BoundLogger", logger)


def configure(stream: TextIO | None = None, level: str = "info", mode: Mode | None = None) -> None:
    """Send all logging of this process to ``stream`` (default: stderr), from ``level`` on (``debug`` … ``critical``).

    ``mode`` None: ``journal`` if systemd says that the stream is its journal, ``console`` on a terminal, else
    ``json``. Other libraries' loggers speak from warnings on. May be called again; the last call holds.
    """
    stream = sys.stderr if stream is None else stream
    chosen = mode or detect_mode(stream, os.environ)
    handler = _Handler(stream)
    handler.set_name(_ROOT)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=_common(),
            processors=[ProcessorFormatter.remove_processors_meta, *_rendering(chosen, stream), _mask_line],
        )
    )
    root = logging.getLogger()
    for other in [each for each in root.handlers if each.get_name() == _ROOT]:
        root.removeHandler(other)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger(_ROOT).setLevel(level.upper())
    for library in _QUIET:
        logging.getLogger(library).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)


def detect_mode(stream: TextIO, environ: Mapping[str, str]) -> Mode:
    """Choose the mode for a stream. ``$JOURNAL_STREAM`` is inherited by all, so its inode has to match, too."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError, AttributeError):  # no file below it, or it is closed
        return "json"
    if environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}":
        return "journal"
    return "console" if stat.S_ISCHR(status.st_mode) and stream.isatty() else "json"


def _common() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _rendering(mode: Mode, stream: TextIO) -> list[Processor]:
    """Return what makes text of an event; in JSON and in the journal it is one line, whatever is in it."""
    if mode == "console":
        colors = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()
        return [
            _mask_fields,
            _escape,
            structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=_plain_traceback),
        ]
    line = _journal_line if mode == "journal" else _json_line
    return [_sort, structlog.processors.format_exc_info, _mask_fields, line]


def _escape(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep line breaks and terminal codes that others sent us from passing for ours."""
    return {visible(key): _visible(value) for key, value in event.items()}


def _visible(value: object) -> object:
    """Return a field's value that the renderer may write as it is; what is no text is written by its ``repr``."""
    return visible(value) if isinstance(value, str) else value


def _plain_traceback(stream: TextIO, error: Any) -> None:  # noqa: ANN401 - structlog's type for sys.exc_info()
    """Write a traceback, whose messages may hold anything. Not the default: that shows local variables, secrets too."""
    written = io.StringIO()
    structlog.dev.plain_traceback(written, error)
    stream.write(visible_lines(written.getvalue()))


def _sort(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Begin every line with when, how grave and what."""
    first = {key: event.pop(key) for key in ("timestamp", "level", "logger", "event") if key in event}
    return {**first, **event}


def _json_line(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
    return visible_json(json.dumps(event, ensure_ascii=False, default=lambda value: mask(str(value))))


def _journal_line(logger: object, method: str, event: MutableMapping[str, Any]) -> str:
    return f"<{_PRIORITIES.get(event.get('level', ''), _PRIORITIES['info'])}>{_json_line(logger, method, event)}"


def _mask_fields(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Hide secrets in the fields, before quoting changes their look."""
    return {key: _masked(value) for key, value in event.items()}


def _masked(value: object) -> object:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {key: _masked(inner) for key, inner in value.items()}
    return [_masked(inner) for inner in value] if isinstance(value, list | tuple) else value


def _mask_line(_logger: object, _method: str, line: Any) -> str:  # noqa: ANN401 - a structlog processor
    """Hide secrets in the finished line: what objects say of themselves, and a console's traceback."""
    return mask(line)


class _Handler(logging.StreamHandler[TextIO]):
    """A stream handler whose own failure shows no part of the event: the standard one prints it unmasked."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Say that a line is missing, if even that can be written."""
        with suppress(OSError, ValueError):
            self.stream.write(f"schedctl: a log line of {record.name} could not be written: {sys.exc_info()[0]}\n")
