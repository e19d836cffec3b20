"""What a run that did not succeed says of the records that it deleted."""

import pytest

from exporter.report import Deletions
from scheduler.runs.deletions import deletion_words, progress_of

OPTIONS = {"object": "Contact"}
RESTORE = (
    "their Ids are in /spool/run-7-deleted. To restore them, undelete these Ids from the recycle bin, such as with"
)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (Deletions(), ""),
        (Deletions(deleted=4, listed=6), f"4 of 6 Contact records were deleted; {RESTORE} Data Loader"),
        (Deletions(deleted=1, listed=1), f"1 of 1 Contact record was deleted; {RESTORE} Data Loader"),
        (Deletions(deleted=12_000), f"12,000 Contact records were deleted; {RESTORE} Data Loader"),
        (
            Deletions(deleted=4, listed=9, in_doubt=2),
            f"4 of 9 Contact records were deleted, and it is not known whether 2 more were; {RESTORE} Data Loader",
        ),
        (Deletions(in_doubt=1), f"it is not known whether 1 Contact record was deleted; {RESTORE} Data Loader"),
    ],
)
def test_records_are_counted_and_the_way_back_is_told(found: Deletions, told: str) -> None:
    assert deletion_words(progress_of(found, "/spool/run-7-deleted"), OPTIONS) == told


def test_what_was_deleted_for_good_does_not_come_back() -> None:
    progress = progress_of(Deletions(deleted=2, listed=2), "/spool/run-7-deleted")
    assert deletion_words(progress, OPTIONS | {"hard_delete": True}) == (
        "2 of 2 Contact records were deleted permanently (hard_delete): they cannot be undeleted; "
        "their Ids are in /spool/run-7-deleted"
    )


def test_while_another_attempt_follows_nothing_has_to_be_restored() -> None:
    progress = progress_of(Deletions(deleted=2, listed=3), "/spool/run-7-deleted")
    assert deletion_words(progress, OPTIONS, goes_on=True) == (
        "2 of 3 Contact records were deleted; the next attempt continues"
    )


def test_a_run_of_an_older_schedctl_says_what_is_known() -> None:
    assert deletion_words({"read": 3, "deleted": 3}, OPTIONS) == "3 Contact records were deleted"


def test_ids_that_are_gone_with_the_spool_are_not_promised() -> None:
    assert deletion_words(progress_of(Deletions(deleted=4, listed=6), None), OPTIONS) == (
        "4 of 6 Contact records were deleted; their Ids were in the spool directory and are gone. To restore them, "
        "find them in the recycle bin by who deleted them, and when"
    )


def test_a_definition_that_cannot_be_read_hides_no_deletion() -> None:
    told = deletion_words(progress_of(Deletions(deleted=4), "/spool/run-7-deleted"), None)
    assert told.startswith("4 records were deleted; their Ids are in /spool/run-7-deleted")
