"""Which SQL a connection speaks, by the names that sqlglot gives to dialects. Pure."""

from pydantic import SecretStr

from exporter.sql.tokens import ANY_ENGINE

_TYPES = {
    "duckdb": "duckdb",
    "sqlite": "sqlite",
    "postgresql": "postgres",
    "mysql": "mysql",
    "trino": "trino",
    "treasure_data": "trino",
}
_NAMES = {
    "athena": "trino",
    "awsathena": "trino",
    "bigquery": "bigquery",
    "clickhouse": "clickhouse",
    "clickhousedb": "clickhouse",
    "cockroachdb": "postgres",
    "databricks": "databricks",
    "doris": "doris",
    "drill": "drill",
    "druid": "druid",
    "duckdb": "duckdb",
    "exa": "exasol",
    "exasol": "exasol",
    "hive": "hive",
    "mariadb": "mysql",
    "mssql": "tsql",
    "mysql": "mysql",
    "oracle": "oracle",
    "postgres": "postgres",
    "postgresql": "postgres",
    "presto": "presto",
    "redshift": "redshift",
    "risingwave": "risingwave",
    "singlestore": "singlestore",
    "singlestoredb": "singlestore",
    "snowflake": "snowflake",
    "spark": "spark",
    "sqlite": "sqlite",
    "starrocks": "starrocks",
    "teradata": "teradata",
    "teradatasql": "teradata",
    "trino": "trino",
}
"""The names of ADBC's drivers, and what SQLAlchemy's URLs begin with, before a + and the driver."""
DIALECTS = frozenset(_NAMES)
"""The names of dialects that settings may use."""


def dialect_of(connection: object) -> str | None:
    """Return the dialect of a source by its settings; None where they do not tell it, such as for Flight SQL."""
    match connection:
        case object(type="treasure_data", engine="hive"):
            return "hive"
        case object(type="adbc", dialect=str(dialect)):
            return _NAMES.get(dialect)
        case object(type="adbc", driver=str(driver)):
            return _NAMES.get(driver)
        case object(type="sqlalchemy", url=SecretStr() as url):
            return dialect_of_url(url.get_secret_value())
        case object(type=str(kind)):
            return _TYPES.get(kind)
    return None


def dialect_of_url(url: str) -> str | None:
    """Return the dialect of one of SQLAlchemy's URLs, such as ``mysql+pymysql://…``; None for one not known here."""
    return _NAMES.get(url.partition(":")[0].partition("+")[0].lower())


def dialect_of_type(kind: str | None) -> str | None:
    """Return the dialect of a source of which only the type is known; None where that does not tell it."""
    return _TYPES.get(kind or "")


def possible_dialects(kind: str | None) -> tuple[str, ...]:
    """Return the dialects that a source of this type may speak."""
    if kind == "treasure_data":
        return ("trino", "hive")
    return (_TYPES[kind],) if kind in _TYPES else ANY_ENGINE
