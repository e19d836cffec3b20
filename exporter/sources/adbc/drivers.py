"""What differs from one ADBC driver to the next: where it lies, its options, and how it takes values."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from exporter.failures import configuration
from exporter.settings.adbc import is_library
from exporter.sources.adbc.select_guard import Form, Write, dollar_numbers, nulls, question_marks, snowflake_values

_CONNECTION_OPTIONS = ("adbc.connection.",)
_STATEMENT_OPTIONS = (
    "adbc.statement.",
    "adbc.rpc.",
    "adbc.snowflake.rpc.",
    "adbc.snowflake.statement.",
    "adbc.bigquery.sql.query.",
    "adbc.postgresql.",
    "adbc.sqlite.query.",
    "adbc.duckdb.query.",
)
"""How the options of a connection and of a statement begin; all others are the database's."""
BOUNDED: Mapping[str, Mapping[str, str]] = {
    "flightsql": {"adbc.rpc.result_queue_size": "2"},
    "snowflake": {"adbc.rpc.result_queue_size": "2", "adbc.snowflake.rpc.prefetch_concurrency": "2"},
    "bigquery": {
        "adbc.bigquery.sql.query.result_buffer_size": "2",
        "adbc.bigquery.sql.query.prefetch_concurrency": "2",
    },
}
"""How many batches a driver fetches ahead: Snowflake's and BigQuery's own defaults are 200, which may be gigabytes."""
READ_ONLY: Mapping[str, str] = {
    "postgresql": "set default_transaction_read_only = on",
    "sqlite": "pragma query_only = on",
}
"""What makes a session read-only where the driver has no option for it."""
_EXTRAS: Mapping[str, str] = {"flightsql": "adbc", "snowflake": "snowflake", "bigquery": "bigquery"}
_FORMS: Mapping[str, tuple[Form, ...]] = {"postgresql": (dollar_numbers,)}
_EITHER_FORM: tuple[Form, ...] = (question_marks, dollar_numbers)
"""How parameters are written: what a server does not take when it prepares the query is tried in the other form."""
_WRITTEN: Mapping[str, Write] = {"snowflake": snowflake_values}


@dataclass(frozen=True, kw_only=True, slots=True)
class DriverOptions:
    """Options of a driver by what they belong to."""

    database: Mapping[str, str]
    connection: Mapping[str, str]
    statement: Mapping[str, str]


def sort_options(options: Mapping[str, str]) -> DriverOptions:
    """Return the options of a connection's settings, each where its name says that it belongs."""

    def beginning(*prefixes: str) -> dict[str, str]:
        return {name: value for name, value in options.items() if name.startswith(prefixes)}

    connection, statement = beginning(*_CONNECTION_OPTIONS), beginning(*_STATEMENT_OPTIONS)
    others = {name: value for name, value in options.items() if name not in connection and name not in statement}
    return DriverOptions(database=others, connection=connection, statement=statement)


def forms(driver: str) -> tuple[Form, ...]:
    """Return the forms of parameters to try, in order."""
    return _FORMS.get(driver, _EITHER_FORM)


def written_values(driver: str) -> Write:
    """Return which values are written into the query, since the driver binds none of their type."""
    return _WRITTEN.get(driver, nulls)


def library(driver: str, directory: Path | None) -> dict[str, str]:
    """Return how the driver manager finds a driver. Raises configuration ``DRIVER_MISSING``."""
    if is_library(driver):
        path = (directory or Path()) / driver
        if not path.is_file():  # the manager would look for it all over the system
            raise configuration("DRIVER_MISSING", f"There is no driver {path}: correct the path")
        return {"driver": str(path.absolute())}
    package = f"adbc_driver_{driver}"
    found = find_spec("_duckdb" if driver == "duckdb" else package)
    if found is None or found.origin is None:
        extra = _EXTRAS.get(driver)
        line = f"'schedctl[{extra}]'" if extra else f"adbc-driver-{driver.replace('_', '-')}"
        raise configuration("DRIVER_MISSING", f"{driver} needs {package}, which is not installed: pip install {line}")
    if driver == "duckdb":
        return {"driver": found.origin, "entrypoint": "duckdb_adbc_init"}
    bundled = [path for path in Path(found.origin).parent.glob(f"lib{package}.*") if is_library(path.name)]
    return {"driver": str(bundled[0]) if bundled else package}
