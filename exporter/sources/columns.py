"""What every source owes of its columns' names. Pure."""

from collections.abc import Iterable

from exporter.failures import configuration


def check_names(names: Iterable[str]) -> None:
    """Raise configuration unless there are columns, each with a name of its own."""
    seen: set[str] = set()
    number = 0
    for number, name in enumerate(names, start=1):
        if not name.strip():
            raise configuration("COLUMN_WITHOUT_NAME", f"Column {number} of the query has no name: add AS name")
        if name in seen:
            raise configuration(
                "DUPLICATE_COLUMN", f'The query gives two columns the name "{name}": rename one with AS'
            )
        seen.add(name)
    if not number:
        raise configuration("NO_COLUMNS", "The query gives no columns: select at least one")
