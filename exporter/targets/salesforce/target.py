"""The Salesforce target: what the rest of schedctl sees of this package."""

import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.connections import SalesforceConnection, SalesforceExport
from exporter.events import BatchSent, BatchSettled, Event, Listener, Warned
from exporter.failures import ExportError, FailureKind, internal
from exporter.ledger import Control
from exporter.report import ExportReport
from exporter.spool import Spool, SpooledColumn, SpoolManifest
from exporter.targets import ExportContext
from exporter.targets.salesforce.client import Backoff, Client
from exporter.targets.salesforce.delivery import Delivery
from exporter.targets.salesforce.effects import Journal, Leg
from exporter.targets.salesforce.known import legs_of
from exporter.targets.salesforce.lookup import load_lookup
from exporter.targets.salesforce.mirroring import Mirroring
from exporter.targets.salesforce.modes import make_plan
from exporter.targets.salesforce.preflight import Preflight
from exporter.targets.salesforce.query import Queries
from exporter.targets.salesforce.refusing import ids_directory, record_spooled, refuse_keys, refuse_unfound
from exporter.targets.salesforce.standing import Standing
from exporter.targets.salesforce.truncate_guard import check_truncate
from exporter.targets.salesforce.truncation import Truncation, telling_deletions
from exporter.targets.salesforce.work import ExportWork

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from exporter.casts import TextRules

_BATCHES_A_DAY = 15_000
"""Batches that an org takes in 24 hours, over both bulk APIs (Bulk API limits)."""


class SalesforceTarget:
    """One object of one org; implements :class:`~exporter.targets.Target`. Holds no connection between calls."""

    def __init__(
        self,
        connection: SalesforceConnection,
        options: SalesforceExport,
        *,
        mirror: bool = False,
        spread: random.Random | None = None,
    ) -> None:
        """Take a connection whose secret is looked up. Raises configuration for what the options cannot mean."""
        self._connection = connection
        self._options = options
        self._plan = make_plan(options, mirror=mirror)
        self._spread = spread or random.Random()  # noqa: S311 - it spreads retries, it guards nothing

    def text_rules(self) -> "TextRules":
        """Return the rules of Salesforce's bulk CSV with this export's own."""
        from exporter.casts import salesforce_rules  # noqa: PLC0415 - pyarrow takes 0.2 s, and only rows need it

        return salesforce_rules(nulls=self._options.nulls, naive_timezone=self._options.naive_timezone)

    def fill(self, rows: "pa.RecordBatchReader", spool: Spool, *, control: Control, listen: Listener) -> None:
        """Write every row into the spool as ready-to-send CSV batches and close the manifest. Nothing is sent."""
        from exporter.spooling import BatchLimits, spool_csv  # noqa: PLC0415 - pyarrow takes 0.2 s

        spool_csv(
            rows,
            spool,
            control=control,
            listen=listen,
            limits=BatchLimits(rows=self._options.batch_size),
            rules=self.text_rules(),
        )

    def export(self, spool: Spool, context: ExportContext) -> ExportReport:
        """Preflight, then send what the spool holds, each row once, whatever the ledger says was done before.

        Raises ExportError. One that only a person, or we, can mend leaves no BulkJob behind that could still begin.
        """
        manifest = _complete(spool)
        standing = Standing()
        journal = Journal(context.ledger, standing.follow)
        truncation = Truncation(context.ledger, spool) if self._plan.removal is not None else None
        mirroring = None if context.gone is None else Mirroring(context.ledger, context.gone)
        _replay(standing, context.listen)
        if truncation is not None:
            check_truncate(self._options, manifest)
        deletions = [each for each in (truncation, mirroring) if each is not None]
        for deletion in deletions:
            deletion.replay(context.listen)
        if not _is_finished(standing, manifest) or not all(each.is_done for each in deletions):
            with self._working(spool, context, journal, standing) as work:
                if not standing.began:
                    self._prepare(work)
                if truncation is not None:
                    truncation.finish(work)
                _deliver(_with_ids(work))
                if mirroring is not None:
                    mirroring.finish(work)
        report = replace(standing.report(manifest.rows), deleted=sum(each.deleted for each in deletions))
        if mirroring is not None:
            report = replace(report, undeleted=mirroring.undeleted, reasons=mirroring.reasons)
        if not report.adds_up:
            raise internal(
                "COUNTS_DIFFER",
                f"{report.read} rows were read, but {report.accepted} accepted and {report.rejected} rejected ones are "
                "in the ledger",
            )
        return report

    def abort(self, spool: Spool, context: ExportContext) -> None:
        """Stop what an earlier :meth:`export` began: abort its BulkJobs, and settle the batches that were done.

        What is settled is told to the listener. Rows that are in Salesforce stay there. Raises ExportError.
        """
        standing = Standing()
        journal = Journal(context.ledger, standing.follow)
        truncation = Truncation(context.ledger, spool) if self._plan.removal is not None else None
        mirroring = None if context.gone is None else Mirroring(context.ledger, context.gone)
        deletions = [each for each in (truncation, mirroring) if each is not None]
        is_idle = not (standing.unclosed or standing.sendings or standing.locked)
        if is_idle and all(each.is_done for each in deletions):
            return
        with self._working(spool, context, journal, standing) as work:
            for deletion in deletions:
                deletion.stop(work)
            Delivery(_with_ids(work)).stop()

    def abandon(self, context: ExportContext) -> None:
        """Abort the BulkJobs of every leg, and settle the batches that Salesforce is done with, without the spool."""
        for leg, plan in legs_of(self._plan).items():
            standing = Standing()
            journal = Journal(context.ledger, standing.follow, leg=leg)
            if not standing.unclosed and not standing.sendings:
                continue
            with self._client(context.control, context.listen) as client:
                nothing = SpoolManifest(columns=(), batches=(), rows=0, rejected=0, format="csv")
                work = ExportWork(
                    plan=plan,
                    spool=Spool(Path()),
                    manifest=nothing,
                    client=client,
                    journal=journal,
                    standing=standing,
                    listen=context.listen if leg is Leg.WRITE else telling_deletions(context.listen),
                )
                Delivery(work).stop()

    def check(self, columns: "pa.Schema | None" = None) -> None:
        """Log in and check the settings (and the columns, if given) without writing anything; raise what is wrong."""
        known = None
        if columns is not None:
            known = [SpooledColumn(name=field.name, type=str(field.type)) for field in columns]
        with self._client(_Unhurried(), _ignore, impatient=True) as client:
            Preflight(self._plan, client).check(known)

    def existing(self) -> int:
        """Return how many records the object has now. Raises ExportError."""
        with self._client(_Unhurried(), _ignore, impatient=True) as client:
            return Queries(client, Path(tempfile.gettempdir())).count(self._plan.object)

    @contextmanager
    def _client(self, control: Control, listen: Listener, *, impatient: bool = False) -> Iterator[Client]:
        own, shared = self._options, self._connection
        delay = shared.initial_retry_delay if own.initial_retry_delay is None else own.initial_retry_delay
        limit = shared.retry_limit if own.retry_limit is None else own.retry_limit
        if impatient:  # somebody sits before the screen
            delay, limit = min(delay, 1), min(limit, 1)
        with Client(
            shared,
            api_version=self._plan.api_version,
            make_backoff=lambda: Backoff(initial_delay=delay, limit=limit, spread=self._spread),
            control=control,
            listen=listen,
        ) as client:
            yield client

    @contextmanager
    def _working(
        self, spool: Spool, context: ExportContext, journal: Journal, standing: Standing
    ) -> Iterator[ExportWork]:
        with self._client(context.control, context.listen) as client:
            yield ExportWork(
                plan=self._plan,
                spool=spool,
                manifest=_complete(spool),
                client=client,
                journal=journal,
                standing=standing,
                listen=context.listen,
            )

    def _prepare(self, work: ExportWork) -> None:
        """Do all that comes before the first write: the preflight, and the rows that will not be sent."""
        findings = Preflight(work.plan, work.client).check(work.manifest.columns)
        for message in (*findings.warnings, *self._warnings(work.manifest)):
            work.listen(Warned(code="PREFLIGHT", message=message))
        record_spooled(work)
        if findings.key is not None and not work.standing.keys_checked:
            refuse_keys(work, findings.key)
        if findings.key is not None and self._plan.lookup and not work.standing.ids_found:
            refuse_unfound(work, findings.key)

    def _warnings(self, manifest: SpoolManifest) -> Iterator[str]:
        if self._plan.is_old:
            yield f"api_version {self._plan.api_version} is deprecated: Salesforce switches it off in summer 2028"
        if len(manifest.batches) > _BATCHES_A_DAY:
            yield f"{len(manifest.batches)} batches: an org takes {_BATCHES_A_DAY} in 24 hours; raise batch_size"


def _with_ids(work: ExportWork) -> ExportWork:
    """Return the work with the Ids that were looked up for its rows, if any were."""
    if not work.standing.ids_found:
        return work
    return replace(work, lookup=load_lookup(ids_directory(work.spool), work.plan.key or ""))


def _deliver(work: ExportWork) -> None:
    delivery = Delivery(work)
    try:
        delivery.finish()
    except ExportError as error:
        if error.kind is not FailureKind.TRANSIENT:
            with suppress(ExportError):  # the first error is the one to tell
                delivery.stop()
        raise


class _Unhurried:
    """The Control of a call that nobody stops."""

    def check(self) -> None:
        """Go on."""

    def wait(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def on_stop(self, callback: "Callable[[], None]") -> None:
        """Forget it: there is no stop."""


def _ignore(_event: Event) -> None:
    """Listen to nothing."""


def _complete(spool: Spool) -> SpoolManifest:
    manifest = spool.manifest()
    if manifest is None or manifest.format != "csv":
        raise internal("SPOOL_INCOMPLETE", f"the spool {spool.directory} holds nothing that could be sent")
    return manifest


def _is_finished(standing: Standing, manifest: SpoolManifest) -> bool:
    """Whether nothing is left to do over there, so that not even a login is needed."""
    return standing.began and len(standing.settled) == len(manifest.batches) and not standing.unclosed


def _replay(standing: Standing, listen: Listener) -> None:
    """Tell the listener of a later attempt what earlier ones sent and settled."""
    for number, tally in standing.tallies.items():
        if number:  # the rows under 0 never got into a batch: whoever read the spool has told of them
            listen(BatchSent(batch=number, rows=tally.sent))
            listen(BatchSettled(batch=number, accepted=tally.accepted, rejected=tally.rejected))
