"""The Ids of all records of an object, on disk before any of them is deleted."""

from itertools import chain

from exporter.spool.spool import Spool, SpooledColumn, SpoolManifest
from exporter.targets.salesforce.api.query import BULK_FROM, Queries

BATCH_ROWS = 10_000


def collect_ids(queries: Queries, name: str, spool: Spool, *, batch_rows: int = BATCH_ROWS) -> SpoolManifest:
    """Write the Ids of all records of the object ``name`` into ``spool``, in CSV batches with the one column ``Id``.

    A spool that is complete is left as it is. Raises ExportError.
    """
    manifest = spool.manifest()
    if manifest is not None:
        return manifest
    bulk = queries.count(name) >= BULK_FROM
    with spool.begin() as writer:
        held: list[str] = []
        rows = 0

        def write(some: list[str]) -> None:
            nonlocal rows
            content = "".join(f'"{each}"\n' for each in chain(["Id"], some)).encode()
            writer.add(content, rows=len(some), first_row=rows + 1)
            rows += len(some)

        for found in queries.rows(f"SELECT Id FROM {name}", ["Id"], bulk_object=name if bulk else None):  # noqa: S608 - an API name, checked
            held += [row[0] for row in found]
            while len(held) >= batch_rows:
                write(held[:batch_rows])
                del held[:batch_rows]
        if held:
            write(held)
        return writer.close([SpooledColumn(name="Id", type="string")], rows=rows)
