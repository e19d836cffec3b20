"""Which columns of a result go out, under which names. Pure."""

import re
from typing import Literal, Self

from pydantic import Field, model_validator

from exporter.settings.base import (
    Settings,
    Text,
    key_fault,
)


class Segment(Settings):
    """What built strings may name: the segment of an activation, and where it belongs."""

    id: Text | None = Field(default=None, description="for a parameter of type `SegmentId`")
    name: Text | None = Field(default=None, description="for `SegmentName`")
    audience_id: Text | None = Field(default=None, description="for `AudienceId`: the parent segment's number")
    funnel_name: Text | None = Field(default=None, description="for `FunnelName`")
    stage_name: Text | None = Field(default=None, description="for `StageName`")


class MappingParameter(Settings):
    """What stands for one ``$n`` of a built string."""

    type: Literal["String", "Timestamp", "SegmentId", "SegmentName", "AudienceId", "FunnelName", "StageName"] = Field(
        description="`String`, `Timestamp` (time of the export), or a value of the job's `segment`",
        examples=['"SegmentName"'],
    )
    string: str | None = Field(default=None, description="with `String`: the text")
    format: Text | None = Field(default=None, description="with `Timestamp`: strftime codes, such as `%Y-%m-%d`")

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        if (self.string is not None) != (self.type == "String"):
            key_fault("string", 'string belongs to type = "String", and is needed there')
        if self.format is not None and self.type != "Timestamp":
            key_fault("format", 'format belongs to type = "Timestamp": remove it')
        return self

    @property
    def segment_key(self) -> str | None:
        """The key of the job's segment whose value this stands for, if it is one of those."""
        return _SEGMENT_KEYS.get(self.type)


_SEGMENT_KEYS = {
    "SegmentId": "id",
    "SegmentName": "name",
    "AudienceId": "audience_id",
    "FunnelName": "funnel_name",
    "StageName": "stage_name",
}


_PLACEHOLDER = re.compile(r"\$([0-9]+)")


class MappedColumn(Settings):
    """One column as it goes out: a column of the query under this name, or a built string."""

    column: Text = Field(description="its name at the target", examples=['"Email"'])
    source: Text | None = Field(default=None, description="the query's column")
    nulls: Literal["ignore", "clear"] | None = Field(
        default=None, description="with `source`: what a NULL does here; default: the export's `nulls`"
    )
    string: str | None = Field(default=None, description="instead of `source`: text with `$1`, `$2`, …")
    parameters: tuple[MappingParameter, ...] = Field(
        default=(), strict=False, description="with `string`: what `$1`, `$2`, … stand for, in order"
    )

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        if (self.source is None) == (self.string is None):
            key_fault("source", "a column has either source or string")
        if self.nulls is not None and self.source is None:
            key_fault("nulls", "nulls belongs to source: a built string is never NULL")
        if self.parameters and self.string is None:
            key_fault("parameters", "parameters belong to string")
        for number in _PLACEHOLDER.findall(self.string or ""):
            if not 1 <= int(number[:9]) <= len(self.parameters):
                key_fault("string", f"${number} has no parameter: there are {len(self.parameters)}")
        return self


class OutputMapping(Settings):
    """Which columns go out under which names. Without one, all columns go out under their own."""

    all_columns: bool = Field(default=False, description="send every column of the query; `columns` renames or adds")
    columns: tuple[MappedColumn, ...] = Field(default=(), strict=False, description="the columns, in order")

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        if not self.columns and not self.all_columns:
            key_fault("columns", "name at least one column, or set all_columns = true")
        seen: set[str] = set()
        for each in self.columns:
            if each.column in seen:
                key_fault("columns", f'"{each.column}" goes out twice: give one of them another name')
            seen.add(each.column)
        return self
