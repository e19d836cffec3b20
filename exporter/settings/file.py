"""Settings of a ``file`` connection and of an export to it. Pure."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from exporter.settings.base import ConnectionSettings, PathText, Settings


class FileConnection(ConnectionSettings):
    """A directory that receives files."""

    type: Literal["file"] = Field(description="`file`", examples=['"file"'])
    directory: PathText = Field(description="where the files go; made when it is missing", examples=['"out"'])


_FILE_NAMES = frozenset({"job", "scheduled_time", "date"})


_FILE_ENDINGS = (".csv", ".jsonl", ".parquet")


def _check_file(value: str) -> str:
    if "/" in value or "\0" in value:
        raise ValueError("write a file name only: the directory is the connection's")
    bare = value
    for name in _FILE_NAMES:
        bare = bare.replace("{" + name + "}", "x")
    if "{" in bare or "}" in bare:
        raise ValueError("only {job}, {scheduled_time} and {date} may stand in braces")
    if not bare.endswith(_FILE_ENDINGS) or bare in _FILE_ENDINGS:
        raise ValueError("end the name in .csv, .jsonl or .parquet")
    return value


class FileExport(Settings):
    """The file that a run writes into the connection's directory.

    ``file`` may hold ``{job}``, ``{scheduled_time}`` (``20261123T030000Z``) and ``{date}`` (``2026-11-23``, UTC);
    its ending says the format: ``.csv``, ``.jsonl`` or ``.parquet``. A file of that name is replaced as a whole.
    """

    file: Annotated[str, AfterValidator(_check_file)] = Field(
        default="{job}-{scheduled_time}.csv",
        description="the file's name; `{job}`, `{scheduled_time}` and `{date}` are filled in; "
        "`.csv`, `.jsonl` or `.parquet`",
    )
