"""What this process counts, and the names of its metrics. Pure: ``daemon/metrics_server.py`` serves them."""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from storage.values import StoredRun


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """One metric: its kind, what it says, and its labels."""

    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()


METRICS: Mapping[str, Metric] = {
    "schedctl_info": Metric(kind="gauge", help="1; the labels say which schedctl this is", labels=("version", "node")),
    "schedctl_runs_total": Metric(
        kind="counter", help="runs that this daemon settled since it started", labels=("job", "outcome")
    ),
    "schedctl_attempts_postponed_total": Metric(
        kind="counter", help="attempts that failed and will be tried again", labels=("job",)
    ),
    "schedctl_lateness_seconds": Metric(
        kind="histogram", help="how long after its time a run began (its first attempt)"
    ),
    "schedctl_rows_total": Metric(
        kind="counter",
        help="rows of settled runs: `read`, `accepted`, `rejected`, `unchanged`; `deleted` records of the target",
        labels=("job", "what"),
    ),
    "schedctl_claims_lost_total": Metric(
        kind="counter", help="runs that another daemon, or nobody, had by the time this one was done"
    ),
    "schedctl_api_calls_total": Metric(
        kind="counter", help="HTTP requests to Salesforce, retries and logins included", labels=("connection",)
    ),
    "schedctl_sent_bytes_total": Metric(
        kind="counter", help="bytes of request bodies to Salesforce", labels=("connection",)
    ),
    "schedctl_received_bytes_total": Metric(
        kind="counter", help="bytes of answers from Salesforce", labels=("connection",)
    ),
    "schedctl_api_quota_used": Metric(
        kind="gauge", help="the org's API calls of 24 hours, as Salesforce last said", labels=("connection",)
    ),
    "schedctl_api_quota_limit": Metric(
        kind="gauge", help="how many the org has, as Salesforce last said", labels=("connection",)
    ),
    "schedctl_runs_waiting": Metric(kind="gauge", help="runs that wait: for their delay, a retry or a free worker"),
    "schedctl_runs_running": Metric(kind="gauge", help="runs that are claimed by some process"),
    "schedctl_runs_overdue": Metric(kind="gauge", help="waiting runs whose time was more than five minutes ago"),
    "schedctl_jobs": Metric(
        kind="gauge",
        help="jobs by `enabled`, `disabled`, `auto_disabled`, `unscheduled`, `unreadable`",
        labels=("state",),
    ),
    "schedctl_job_last_success_timestamp_seconds": Metric(
        kind="gauge", help="slot of the job's newest run that succeeded", labels=("job",)
    ),
    "schedctl_job_failure_streak": Metric(
        kind="gauge", help="configuration failures of the job in a row", labels=("job",)
    ),
    "schedctl_config_ok": Metric(kind="gauge", help="1 if the config file was sound when last read, else 0"),
    "schedctl_config_read_timestamp_seconds": Metric(kind="gauge", help="when the config file was last read"),
    "schedctl_storage_up": Metric(
        kind="gauge", help="1 while the state database takes what is written and can be read, else 0"
    ),
    "schedctl_disk_free_bytes": Metric(
        kind="gauge", help="free bytes on the disk of the `spool` and of the `state`", labels=("of",)
    ),
    "schedctl_notices_pending": Metric(kind="gauge", help="notices that are not sent yet"),
    "schedctl_notices_oldest_timestamp_seconds": Metric(
        kind="gauge", help="when the oldest of them came up; not there while none waits"
    ),
}
"""Every metric, by name."""
LATENESS_BUCKETS = (0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 21_600)
"""Upper bounds, seconds."""

Key = tuple[str, tuple[str, ...]]
"""A metric's name and the values of its labels."""


@dataclass(frozen=True, kw_only=True)
class Readings:
    """What was counted up to one instant. ``lateness`` are counts by bucket, the last being those beyond all."""

    values: Mapping[Key, float]
    lateness: tuple[int, ...]
    lateness_sum: float


@dataclass
class Meters:
    """Counts of one process; any thread may count."""

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _values: Counter[Key] = field(default_factory=Counter)
    _lateness: list[int] = field(default_factory=lambda: [0] * (len(LATENESS_BUCKETS) + 1))
    _lateness_sum: float = 0.0

    def began(self, run: StoredRun) -> None:
        """Count a run whose attempt begins."""
        if run.attempt > 1 or run.started_at is None:
            return
        late = max(0.0, (run.started_at - run.run_time).total_seconds())
        bucket = next((index for index, bound in enumerate(LATENESS_BUCKETS) if late <= bound), len(LATENESS_BUCKETS))
        with self._lock:
            self._lateness[bucket] += 1
            self._lateness_sum += late

    def ended(self, run: StoredRun) -> None:
        """Count a run as it is after its attempt: settled, or waiting for the next."""
        if run.outcome is None:
            self.add("schedctl_attempts_postponed_total", run.job)
            return
        self.add("schedctl_runs_total", run.job, run.outcome)
        rows = {
            "read": run.rows_read,
            "accepted": run.rows_accepted,
            "rejected": run.rows_rejected,
            "unchanged": run.rows_unchanged,
            "deleted": run.rows_deleted,
        }
        for what, count in rows.items():
            self.add("schedctl_rows_total", run.job, what, by=count)

    def called(self, connection: str, *, sent: int, received: int, quota: tuple[int, int] | None) -> None:
        """Count a request to Salesforce; ``quota`` is what it said of the org: calls used, and all it has."""
        self.add("schedctl_api_calls_total", connection)
        self.add("schedctl_sent_bytes_total", connection, by=sent)
        self.add("schedctl_received_bytes_total", connection, by=received)
        if quota is not None:
            with self._lock:
                self._values["schedctl_api_quota_used", (connection,)] = quota[0]
                self._values["schedctl_api_quota_limit", (connection,)] = quota[1]

    def add(self, name: str, *labels: str, by: int = 1) -> None:
        """Raise a counter."""
        with self._lock:
            self._values[name, labels] += by

    def read(self) -> Readings:
        """Return what was counted until now."""
        with self._lock:
            return Readings(values=dict(self._values), lateness=tuple(self._lateness), lateness_sum=self._lateness_sum)


METERS = Meters()
"""What this process counts, wherever in it a run ends; as with logs, there is one for the process."""
