"""What a run that did not succeed says of the records that it deleted, and of how they come back. Pure."""

from collections.abc import Mapping
from typing import Any

from exporter.report import Deletions


def progress_of(deletions: Deletions, ids: str | None) -> dict[str, Any]:
    """Return what a run's progress keeps of its deletions; ``ids`` is where the Ids of the records are, if anywhere."""
    kept = {"deleted": deletions.deleted, "deletions_in_doubt": deletions.in_doubt, "deleted_ids": ids}
    return kept | ({"listed": deletions.listed} if deletions.listed is not None else {})


def deletion_words(progress: Mapping[str, Any], export: object, *, goes_on: bool = False) -> str:
    """Say how many records a run deleted and how to restore them; empty if it deleted none.

    ``progress`` has what :func:`progress_of` gave; ``export`` are the export's settings in the run's definition, which
    may be one that cannot be read. ``goes_on`` says that another attempt follows.
    """
    deleted, in_doubt = int(progress.get("deleted", 0)), int(progress.get("deletions_in_doubt", 0))
    if not deleted and not in_doubt:
        return ""
    options = export if isinstance(export, Mapping) else {}
    records, listed = f"{options.get('object', '')} record".strip(), progress.get("listed")
    of = f"{deleted:,}" if listed is None else f"{deleted:,} of {listed:,}"
    said = f"{of} {records}{'s were' if (listed or deleted) != 1 else ' was'} deleted"
    if in_doubt and deleted:
        said += f", and it is not known whether {in_doubt:,} more were"
    elif in_doubt:
        said = f"it is not known whether {in_doubt:,} {records}{'s were' if in_doubt != 1 else ' was'} deleted"
    if goes_on:
        return f"{said}; the next attempt continues"
    if "deleted_ids" not in progress:  # a run of an older schedctl
        return said
    found = progress["deleted_ids"]
    ids = f"their Ids are in {found}" if found is not None else "their Ids were in the spool directory and are gone"
    if options.get("hard_delete"):
        return f"{said} permanently (hard_delete): they cannot be undeleted; {ids}"
    if found is None:
        return f"{said}; {ids}. To restore them, find them in the recycle bin by who deleted them, and when"
    return f"{said}; {ids}. To restore them, undelete these Ids from the recycle bin, such as with Data Loader"
