"""Serves the metrics where ``[metrics]`` says: over HTTP on an address, or as a file. Home of prometheus-client."""

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from exporter.http.server import LimitedServer
from scheduler.config.sections import MetricsSettings
from scheduler.jobs.view import JobLine
from scheduler.nodes.health import OVERDUE, UNREADABLE, read_unreadable, still_unreadable
from scheduler.observability.counters import LATENESS_BUCKETS, METERS, METRICS, Meters
from scheduler.observability.logging_setup import get_logger
from storage import key_values, notices
from storage.database import Database, StorageError
from storage.jobs import jobs
from storage.runs import runs
from storage.values import Node

if TYPE_CHECKING:
    from prometheus_client.core import Metric as Family

TEXTFILE_SECONDS = 15.0
"""How often the file is written: node_exporter's textfile collector is read about as often."""
_MOST_SCRAPES = 8
_SCRAPE_SECONDS = 10.0
"""Prometheus scrapes for 10 s at the longest, unless it is reported otherwise."""
_STATES = ("enabled", "disabled", "auto_disabled", "unscheduled", "unreadable")

log = get_logger("schedctl.metrics")


@dataclass(frozen=True, kw_only=True)
class Whole:
    """What is measured: a node, its state database and its spool."""

    database: Database
    node: Node
    spool: Path
    clock: Callable[[], datetime]
    refuses: Callable[[], bool] = lambda: False
    """Whether the state database refuses what the daemon writes."""
    meters: Meters = field(default_factory=lambda: METERS)


class Metrics:
    """The metrics of one daemon. :meth:`apply` may be called again with other settings; nothing of it ever raises."""

    def __init__(self, whole: Whole) -> None:
        self._whole = whole
        self._listen: str | None = None
        self._hosts: tuple[str, ...] = ()
        self._server: _Server | None = None
        self._textfile: Path | None = None
        self._unheard = self._unwritten = ""

    @property
    def fault(self) -> str:
        """Why metrics are not served as the settings say; empty while they are."""
        return "; ".join(filter(None, (self._unheard, self._unwritten)))

    @property
    def port(self) -> int | None:
        """The port that is listened on, if any."""
        return None if self._server is None else self._server.server_port

    def apply(self, wanted: MetricsSettings) -> None:
        """Serve as the settings say; what is unavailable is logged, and the daemon goes on without it."""
        self._textfile = None if wanted.textfile is None else Path(wanted.textfile)
        self._unheard = "" if wanted.listen is None else self._unheard
        self._unwritten = "" if wanted.textfile is None else self._unwritten
        if (wanted.listen, wanted.hosts) == (self._listen, self._hosts):
            return
        self.stop()
        self._unheard = ""
        if wanted.listen is None:
            return
        try:
            self._server = _Server(wanted, _Registry(self.collect))
        except OSError as error:
            log.error("metrics.refused", address=wanted.listen, message=error.strerror or str(error))  # noqa: TRY400 - says it all
            self._unheard = (
                f"metrics.listen = {wanted.listen}: {error.strerror or error}; free or change it, then reload"
            )
            return
        threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()
        self._listen, self._hosts = wanted.listen, wanted.hosts
        log.info("metrics.listening", address=wanted.listen, port=self.port)

    def write(self) -> None:
        """Write the file, if one is asked for, so that whoever reads it sees it whole."""
        if self._textfile is None:
            return
        from prometheus_client import write_to_textfile  # noqa: PLC0415 - for those who ask for metrics

        try:
            write_to_textfile(str(self._textfile), _Registry(self.collect))
        except OSError as error:
            if not self._unwritten:  # once, not every 15 s
                log.error("metrics.refused", address=str(self._textfile), message=error.strerror or str(error))  # noqa: TRY400 - says it all
            self._unwritten = f"metrics.textfile = {self._textfile}: {error.strerror or error}"
        else:
            self._unwritten = ""

    def stop(self) -> None:
        """Listen no longer; a file that was written stays, for its time tells its age."""
        if self._server is not None:
            self._server.shutdown()  # takes up to half a second, and lets no answer be cut off
            self._server.server_close()
        self._server = self._listen = None

    def collect(self) -> "Iterator[Family]":
        """Yield every metric as it is now; without the database, those that need none."""
        samples: dict[str, list[tuple[tuple[str, ...], float]]] = {}
        for (name, labels), value in sorted(self._counted()):
            samples.setdefault(name, []).append((labels, value))
        for name, metric in METRICS.items():
            if metric.kind == "histogram":
                yield self._lateness(name)
            else:
                yield _family(name, samples.get(name, []))

    def _counted(self) -> "Iterator[tuple[tuple[str, tuple[str, ...]], float]]":
        whole = self._whole
        yield from whole.meters.read().values.items()
        yield ("schedctl_info", (whole.node.version, whole.node.id)), 1
        places = {"spool": whole.spool, **({"state": whole.database.path.parent} if whole.database.path else {})}
        for name, place in places.items():
            with suppress(OSError):
                yield ("schedctl_disk_free_bytes", (name,)), shutil.disk_usage(_there(place)).free
        try:
            yield from self._stored()
            is_up = not whole.refuses()
        except StorageError:
            is_up = False
        yield ("schedctl_storage_up", ()), is_up

    def _stored(self) -> "list[tuple[tuple[str, tuple[str, ...]], float]]":
        whole, found = self._whole, list[tuple[tuple[str, tuple[str, ...]], float]]()
        with whole.database.read() as session:
            all_jobs = jobs.all_jobs(session)
            unreadable = read_unreadable(key_values.beginning_with(session, UNREADABLE), {whole.node.host})
            queue = runs.queue(session, overdue=whole.clock() - OVERDUE)
            outbox = notices.outbox(session)
            fault, read_at = key_values.get(session, "config_fault"), key_values.get(session, "config_read_at")
        faults = still_unreadable(unreadable, all_jobs)
        lines = [JobLine(stored=job, fault=faults.get(job.name)) for job in all_jobs]
        for name, value in queue.items():
            found.append(((f"schedctl_runs_{name}", ()), value))
        for state in _STATES:
            found.append((("schedctl_jobs", (state,)), sum(line.state == state for line in lines)))
        for line in lines:
            found.append((("schedctl_job_failure_streak", (line.name,)), line.stored.failure_streak))
            if (last := line.stored.last_success) is not None:
                found.append((("schedctl_job_last_success_timestamp_seconds", (line.name,)), last.timestamp()))
        if read_at is not None:
            when = datetime.fromisoformat(read_at).timestamp()
            found += [(("schedctl_config_ok", ()), not fault), (("schedctl_config_read_timestamp_seconds", ()), when)]
        found.append((("schedctl_notices_pending", ()), outbox.pending))
        if outbox.oldest is not None:
            found.append((("schedctl_notices_oldest_timestamp_seconds", ()), outbox.oldest.timestamp()))
        return found

    def _lateness(self, name: str) -> "Family":
        from prometheus_client.core import HistogramMetricFamily  # noqa: PLC0415 - for those who ask for metrics

        readings = self._whole.meters.read()
        bounds = [*(str(float(bound)) for bound in LATENESS_BUCKETS), "+Inf"]
        sums = [sum(readings.lateness[: index + 1]) for index in range(len(bounds))]
        buckets = list(zip(bounds, sums, strict=True))
        return HistogramMetricFamily(name, METRICS[name].help, buckets=buckets, sum_value=readings.lateness_sum)


class _Server(LimitedServer):
    """Serves the metrics to those who call it by a name of this machine: a page in a browser calls it by its own.

    (DNS rebinding: https://en.wikipedia.org/wiki/DNS_rebinding.) No name is asked for, so no answer is waited for.
    """

    def __init__(self, wanted: MetricsSettings, registry: "_Registry") -> None:
        self.registry = registry
        machine = socket.gethostname().lower()
        self._names = {"localhost", machine, machine.partition(".")[0], *(host.lower() for host in wanted.hosts)}
        super().__init__(wanted.address, _Handler, most=_MOST_SCRAPES, seconds=_SCRAPE_SECONDS, failed=_log_failure)

    def is_for_us(self, host: str | None) -> bool:
        """Whether a Host header names this machine: by an address, which no page can have, or a name that is ours."""
        if host is None:  # no browser leaves it out
            return True
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
            ip_address(name)
        except ValueError:
            return host.rpartition(":")[0].lower().rstrip(".") in self._names or host.lower().rstrip(".") in self._names
        return True


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _SCRAPE_SECONDS

    def do_GET(self) -> None:
        """Answer with the metrics at /metrics."""
        from prometheus_client.exposition import choose_encoder  # noqa: PLC0415 - 60 ms, for those who ask for metrics

        if not self.server.is_for_us(self.headers["Host"]):
            self._answer(421, "text/plain", b"This is called by another name: add it to hosts under [metrics]\n")
        elif self.path.partition("?")[0] != "/metrics":
            self._answer(404, "text/plain", b"The metrics are at /metrics\n")
        else:
            encode, kind = choose_encoder(self.headers["Accept"] or "")
            self._answer(200, kind, encode(self.server.registry))

    do_HEAD = do_GET  # noqa: N815 - the base class names it

    def _answer(self, status: int, kind: str, content: bytes) -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Keep the base class from writing to stderr."""


def _log_failure(error: BaseException) -> None:
    log.error("metrics.failed", message=f"{type(error).__name__}: {error}")


class _Registry:
    """What prometheus-client asks of a registry: something to collect from."""

    def __init__(self, collect: "Callable[[], Iterator[Family]]") -> None:
        self.collect = collect


def _family(name: str, samples: list[tuple[tuple[str, ...], float]]) -> "Family":
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415 - for those who ask

    metric = METRICS[name]
    make = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = make(name, metric.help, labels=metric.labels)
    for labels, value in samples:
        family.add_metric(labels, value)
    if not samples and not metric.labels and metric.kind == "counter":
        family.add_metric((), 0)
    return family


def _there(place: Path) -> Path:
    """Return the directory, or the nearest one above it that is there: the spool is made when it is first needed."""
    return next((each for each in (place, *place.parents) if each.exists()), place)
