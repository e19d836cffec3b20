"""The Salesforce target: what the rest of schedctl sees of this package."""

import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.events import BatchSent, BatchSettled, Event, Listener, Warned
from exporter.failures import ExportError, FailureKind, internal
from exporter.ledger import Control
from exporter.report import ExportReport, Refusal, exceeds, merge_refusals
from exporter.rows.key_forms import Form
from exporter.settings.connection import SalesforceConnection, SalesforceExport
from exporter.spool.spool import Spool, SpooledColumn, SpoolManifest
from exporter.targets.salesforce.api.client import Backoff, Client
from exporter.targets.salesforce.api.query import Queries
from exporter.targets.salesforce.deletion.mirror import Mirroring
from exporter.targets.salesforce.deletion.truncate import Truncation, telling_deletions
from exporter.targets.salesforce.deletion.truncate_guard import check_refusals, check_truncate
from exporter.targets.salesforce.delivery.delivery import Delivery
from exporter.targets.salesforce.delivery.early_rejections import (
    ids_directory,
    record_spooled,
    refuse_cells,
    refuse_keys,
    refuse_unfound,
)
from exporter.targets.salesforce.delivery.export_context import ExportWork
from exporter.targets.salesforce.delivery.export_state import Standing
from exporter.targets.salesforce.delivery.journal import Journal, Leg
from exporter.targets.salesforce.delivery.ledger_facts import legs_of
from exporter.targets.salesforce.export_plan import Operation, make_plan
from exporter.targets.salesforce.preparation.id_lookup import count_missing, load_lookup
from exporter.targets.salesforce.preparation.key_check import key_form
from exporter.targets.salesforce.preparation.preflight import Known, Preflight
from exporter.targets.target import ExportContext

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from exporter.rows.casts import TextRules
    from exporter.targets.salesforce.auth.log_in import Login
    from exporter.targets.salesforce.preparation.cell_check import CellChecks, CheckedColumn

_BATCHES_A_DAY = 15_000
"""Batches that an org takes in 24 hours, over both bulk APIs (Bulk API limits)."""
STOP_SECONDS = 10.0
"""How long a call of a stop may take, with all of its retries: whoever stops a run waits for its end."""


class SalesforceTarget:
    """One object of one org; implements :class:`~exporter.targets.target.Target`. Holds no connection between calls.

    It keeps the login and what the org said of its objects: one target serves one attempt of a run.
    """

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
        self._known = Known()
        self._login: Login | None = None

    def text_rules(self) -> "TextRules":
        """Return the rules of Salesforce's bulk CSV with this export's own."""
        from exporter.rows.casts import salesforce_rules  # noqa: PLC0415 - pyarrow takes 0.2 s, and only rows need it

        return salesforce_rules(nulls=self._options.nulls, naive_timezone=self._options.naive_timezone)

    def prepare(self, names: Sequence[str], *, complete: bool, control: Control, listen: Listener) -> None:
        """Log in and check the object, the rights, the key and the named columns. Raises ExportError."""
        columns = [SpooledColumn(name=name, type="null") for name in names]  # a type that fits every field
        with self._client(control, listen) as client:
            Preflight(self._plan, client, self._known).check(columns, complete=complete)

    def key_form(self, *, control: Control, listen: Listener) -> Form | None:
        """Return how the org compares the values of the key; None for an export without one. Raises ExportError."""
        if self._plan.key is None:
            return None
        with self._client(control, listen) as client:
            key = Preflight(self._plan, client, self._known).check(None).key
        return key_form(key, upsert=self._plan.operation is Operation.UPSERT) if key is not None else None

    def fill(self, rows: "pa.RecordBatchReader", spool: Spool, *, control: Control, listen: Listener) -> None:
        """Write every row into the spool as ready-to-send CSV batches and close the manifest. Nothing is sent.

        After :meth:`prepare`, columns that do not fit are a fault before the first row is written.
        """
        from exporter.spool.csv_batches import BatchLimits, spool_csv  # noqa: PLC0415 - pyarrow takes 0.2 s

        if self._known.described:
            with self._client(control, listen) as client:
                Preflight(self._plan, client, self._known).check(_spooled(rows.schema))
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

        Raises ExportError. One that only a person, or we, can fix leaves no BulkJob behind that could still begin.
        """
        manifest = _complete(spool)
        standing = Standing()
        journal = Journal(context.ledger, standing.follow)
        truncation = Truncation(context.ledger, spool) if self._plan.removal is not None else None
        mirroring = None if context.gone is None else Mirroring(context.ledger, context.gone)
        if truncation is not None:  # rows go only where the records were deleted
            standing.org = standing.org or truncation.org
        _replay(standing, context.listen)
        deletions = [each for each in (truncation, mirroring) if each is not None]
        for deletion in deletions:
            deletion.replay(context.listen)
        if truncation is not None and not manifest.rows:
            check_truncate(self._options, manifest)
        if not _is_finished(standing, manifest) or not all(each.is_done for each in deletions):
            with self._working(spool, context, journal, standing) as work:
                if not standing.began:
                    self._check_rows(work, context, deletes=any(not each.has_begun for each in deletions))
                if truncation is not None:
                    truncation.finish(work)
                _deliver(_with_ids(work))
                if mirroring is not None and not self._is_withheld(standing.report(manifest.rows), context):
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

        What is settled is reported to the listener. Rows that are in Salesforce stay there. Raises ExportError.
        """
        standing = Standing()
        journal = Journal(context.ledger, standing.follow)
        truncation = Truncation(context.ledger, spool) if self._plan.removal is not None else None
        mirroring = None if context.gone is None else Mirroring(context.ledger, context.gone)
        deletions = [each for each in (truncation, mirroring) if each is not None]
        is_idle = not (standing.unclosed or standing.sendings or standing.locked)
        if is_idle and not any(each.is_under_way for each in deletions):
            return
        with self._working(spool, context, journal, standing, stopping=True) as work:
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
            with self._client(context.control, context.listen, stopping=True) as client:
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
        known = None if columns is None else _spooled(columns)
        with self._client(_Unhurried(), _ignore, impatient=True) as client:
            Preflight(self._plan, client, self._known).check(known)

    def cell_checks(self, columns: "pa.Schema") -> "CellChecks":
        """Do as :meth:`check`, and return what finds the cells that the org would refuse."""
        from exporter.targets.salesforce.preparation.cell_check import CellChecks  # noqa: PLC0415 - pyarrow takes 0.2 s

        with self._client(_Unhurried(), _ignore, impatient=True) as client:
            return CellChecks(Preflight(self._plan, client, self._known).check(_spooled(columns)).columns)

    def existing(self) -> int:
        """Return how many records the object has now. Raises ExportError."""
        with self._client(_Unhurried(), _ignore, impatient=True) as client:
            return Queries(client, Path(tempfile.gettempdir())).count(self._plan.object)

    @contextmanager
    def _client(
        self, control: Control, listen: Listener, *, impatient: bool = False, stopping: bool = False
    ) -> Iterator[Client]:
        own, shared = self._options, self._connection
        delay = shared.initial_retry_delay if own.initial_retry_delay is None else own.initial_retry_delay
        limit = shared.retry_limit if own.retry_limit is None else own.retry_limit
        if impatient:  # somebody sits before the screen
            delay, limit = min(delay, 1), min(limit, 1)
        patience = STOP_SECONDS if stopping else float("inf")
        with Client(
            shared,
            api_version=self._plan.api_version,
            make_backoff=lambda: Backoff(
                initial_delay=min(delay, 1) if stopping else delay, limit=limit, spread=self._spread, patience=patience
            ),
            control=control,
            listen=listen,
            login=self._login,
            call_timeout=patience,
        ) as client:
            try:
                yield client
            finally:
                self._login = client.login

    @contextmanager
    def _working(
        self,
        spool: Spool,
        context: ExportContext,
        journal: Journal,
        standing: Standing,
        *,
        stopping: bool = False,
    ) -> Iterator[ExportWork]:
        with self._client(context.control, context.listen, stopping=stopping) as client:
            yield ExportWork(
                plan=self._plan,
                spool=spool,
                manifest=_complete(spool),
                client=client,
                journal=journal,
                standing=standing,
                listen=context.listen,
            )

    def _check_rows(self, work: ExportWork, context: ExportContext, *, deletes: bool) -> None:
        """Do all that comes before the first effect: the preflight, and the rows that will not be sent.

        With ``deletes``, that is, if records are yet to be deleted, raise data if too many rows would be rejected.
        """
        findings = Preflight(work.plan, work.client, self._known).check(work.manifest.columns)
        for message in (*findings.warnings, *self._warnings(work.manifest)):
            work.listen(Warned(code="PREFLIGHT", message=message))
        record_spooled(work)
        check_truncate(self._options, work.manifest)
        standing = work.standing
        if findings.key is not None and not standing.keys_checked:
            refuse_keys(work, findings.key)
        if not standing.cells_checked:
            refuse_cells(work, findings.columns, doubts=deletes)
        if findings.key is not None and self._plan.lookup and not standing.ids_found:
            refuse_unfound(work, findings.key)
        if deletes:
            read = work.manifest.rows + context.unchanged
            found = replace(standing.report(read), unchanged=context.unchanged)
            orphans = tuple(_orphans(work, findings.columns))
            most = max((each.count for each in orphans), default=0)  # a row may lack several parents
            doubtful = max(standing.doubtful, most - found.rejected)
            check_refusals(
                self._plan.object, found, doubtful, merge_refusals(standing.misfits, orphans), context.max_rejected
            )

    def _is_withheld(self, report: ExportReport, context: ExportContext) -> bool:
        """Whether so many rows were rejected that a mirror deletes nothing: those that stay may be wrong, too."""
        if report.rejected and report.rejected == report.read + context.unchanged:
            return True
        return exceeds(report.rejected, report.read, context.max_rejected)

    def _warnings(self, manifest: SpoolManifest) -> Iterator[str]:
        if self._plan.is_old:
            yield f"api_version {self._plan.api_version} is deprecated: Salesforce switches it off in summer 2028"
        if len(manifest.batches) > _BATCHES_A_DAY:
            yield f"{len(manifest.batches)} batches: an org takes {_BATCHES_A_DAY} in 24 hours; raise batch_size"


def _orphans(work: ExportWork, columns: "Sequence[CheckedColumn]") -> Iterator[Refusal]:
    """Count, by column, the rows that link to a parent which is not there: they would be rejected."""
    queries = Queries(work.client, work.spool.directory)
    for column in columns:
        if not column.parent or column.to_deleted:
            continue
        count = count_missing(queries, column.parent, column.field, work.spool, work.manifest, column=column.name)
        if count:
            message = f"{column.name}: no {column.parent} has this {column.field.name}"
            yield Refusal(code="INVALID_FIELD", message=message, count=count, fields=(column.name,))


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


def _spooled(columns: "pa.Schema") -> list[SpooledColumn]:
    return [SpooledColumn(name=field.name, type=str(field.type)) for field in columns]


def _complete(spool: Spool) -> SpoolManifest:
    manifest = spool.manifest()
    if manifest is None or manifest.format != "csv":
        raise internal("SPOOL_INCOMPLETE", f"the spool {spool.directory} holds nothing that could be sent")
    return manifest


def _is_finished(standing: Standing, manifest: SpoolManifest) -> bool:
    """Whether nothing is left to do in the target, so that not even a login is needed."""
    return standing.began and len(standing.settled) == len(manifest.batches) and not standing.unclosed


def _replay(standing: Standing, listen: Listener) -> None:
    """Tell the listener of a later attempt what earlier ones sent and settled."""
    for number, tally in standing.tallies.items():
        if number:  # the rows under 0 never got into a batch: whoever read the spool has told of them
            listen(BatchSent(batch=number, rows=tally.sent))
            listen(BatchSettled(batch=number, accepted=tally.accepted, rejected=tally.rejected))
