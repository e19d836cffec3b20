"""Snapshots whose keys were reported apart in another form than a result's are now: their digests are made anew.

How the target compares the key is known only since it is asked before the query (:mod:`exporter.rows.key_forms`).
Without this, a snapshot of before would have no key in common with any result: a mirror would delete every record.
"""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from exporter.changes.digests import key_digest
from exporter.changes.parts import BucketWriter, Clustered, clustered_writer, parts_of, read_bucket, write_clustered
from exporter.rows.key_forms import Form

_FORM = b"schedctl.form"


def with_form(schema: pa.Schema, form: Form | None) -> pa.Schema:
    """Return the schema of a snapshot that says in which form its keys are; None: as an older schedctl made them."""
    return schema if form is None else schema.with_metadata({_FORM: form.encode()})


def in_form(snapshot: Path | None, form: Form | None, schema: pa.Schema, directory: Path) -> Path | None:
    """Return a snapshot with its keys in ``form``: the file itself, or one that is made of it in ``directory``.

    ``form`` None: the result's keys are as an older schedctl made them, and so are those of its snapshot. A file that
    names no form is made anew whatever the form is, for DuckDB, which made its keys, knows fewer letters than Arrow.
    """
    if snapshot is None or form is None or form == "exact":  # exact keys may be several cells, and are as they were
        return snapshot
    if (pq.read_schema(snapshot).metadata or {}).get(_FORM) == form.encode():
        return snapshot
    made = directory / f"{snapshot.stem}-{form}.parquet"  # the job may have another snapshot by the end of the run
    if not made.exists():
        partial, buckets = directory / "snapshot.partial", directory / "snapshot-buckets"
        partial.unlink(missing_ok=True)
        shutil.rmtree(buckets, ignore_errors=True)  # of an attempt that was killed here
        _convert(Clustered(snapshot, schema), form, schema, buckets, partial)
        partial.rename(made)
    return made


def _convert(before: Clustered, form: Form, schema: pa.Schema, buckets: Path, file: Path) -> None:
    with BucketWriter(buckets, schema) as writer:
        for part in parts_of(before.counts):
            rows = before.read(part)
            keys = [key_digest(text, form) for text in rows["text"].to_pylist()]
            parts = pa.array([int.from_bytes(key[:2], "big") for key in keys], pa.uint16())
            rows = rows.set_column(rows.schema.get_field_index("key"), "key", pa.array(keys, pa.binary()))
            writer.write(rows.set_column(rows.schema.get_field_index("part"), "part", parts).cast(schema))
    with clustered_writer(file, with_form(schema, form)) as written:
        for part in parts_of(writer.counts):
            rows = read_bucket(buckets, part)
            if rows.num_rows:
                write_clustered(written, _without_doubles(rows, schema))


def _without_doubles(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Leave one row of those whose keys have become one, to be sent again whatever it holds."""
    counted = rows.group_by("key", use_threads=False).aggregate(
        [("digest", "first"), ("text", "first"), ("doubt", "max"), ("part", "first"), ("key", "count")]
    )
    single = pa.compute.equal(counted["key_count"], 1)
    digest = pa.compute.if_else(single, counted["digest_first"], pa.scalar(b"", pa.binary()))
    columns = [counted["key"], digest, counted["text_first"], counted["doubt_max"], counted["part_first"]]
    return pa.table(columns, names=["key", "digest", "text", "doubt", "part"]).cast(schema)
