"""Which cells of a column a field cannot take, seen before anything is sent: whole columns at a time. Pure.

Two verdicts. **Refused** is what Salesforce turns down before anything in the org sees the record: text that is no
value of the field's type, no Id, no value of a restricted picklist ("Triggers and Order of Execution", Apex Developer
Guide: a request of the API is checked for foreign keys and restricted picklists, then come flows and triggers). Such a
row is not sent. **Doubtful** is what Salesforce refuses unless a flow or a trigger of the org corrects the record first
(too long, required and empty, too many digits), and text of a form that no public source is sure about. Such a row is
sent, and Salesforce decides; but no record is deleted to make room for it.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Context, Decimal

import pyarrow as pa
import pyarrow.compute as pc

from exporter.rows.key_forms import BLANKS, LARGEST_EXPONENT
from exporter.targets.salesforce.fields import Field
from exporter.targets.salesforce.preparation.type_table import KINDS, Fit, family, fit

_LENGTHS = frozenset({"string", "textarea", "phone", "url", "email", "encryptedstring", "combobox", "picklist"})
"""Types whose text may have ``length`` characters."""
_LEAP_YEAR = r"(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)"
_DAY = (
    r"(?:[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    rf"|02-(?:0[1-9]|1[0-9]|2[0-8]))|{_LEAP_YEAR}-02-29)"
)
"""A day that there is."""
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
_OFFSET = r"[+-](?:(?:0[0-9]|1[0-3]):?[0-5][0-9]|14:?00)"
"""An offset that xsd:dateTime has (XML Schema Part 2, section 3.2.7.3)."""
_YEARS = r"(?:1[789]|2[0-9]|3[0-9])[0-9]{2}-|4000-"
_PLAIN = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_ID = r"\A[0-9A-Za-z]{15}(?:[0-9A-Za-z]{3})?\z"
_INT_BITS = {"int": 32, "long": 64}
_FITS_AN_INT = re.compile(r"u?int(?:8|16)|int32")
_WELL_FORMED: Mapping[str, Collection[str]] = {"integer": {"int", "number"}, "decimal": {"number"}, "float": {"number"}}
"""By family of the column, the kinds of fields whose form every cell has."""
_LONGER_THAN_ANY = 30
"""Digits of a whole number that make it too large, whatever follows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Form:
    """The texts that are values of a type, those that may be, and the words for the others."""

    xsd: str
    sure: str
    perhaps: str
    write: str


_FORMS = {
    "boolean": _Form(
        xsd="boolean",
        sure=r"(?i:true|false|1|0)",
        perhaps=r"(?i:yes|no|y|n|on|off|t|f)",  # Data Loader takes these, and translates them before it sends them
        write="true or false",
    ),
    "int": _Form(xsd="int", sure=r"[+-]?[0-9]+", perhaps=r"", write="a whole number such as 42"),
    "number": _Form(
        xsd="double",
        sure=rf"{_PLAIN}(?:[eE][+-]?[0-9]{{1,3}})?",
        perhaps=rf"{_PLAIN}(?:[eE][+-]?[0-9]+)?[dDfF]?|[+-]?(?:INF|NaN|Infinity)",
        write="a number such as 1234.5",
    ),
    "date": _Form(
        xsd="date",
        sure=_DAY,
        perhaps=r"[0-9]{4}-[0-9]{2}-[0-9]{2}.*",  # Data Loader sends a time of day behind it; older guides, an offset
        write="2026-11-23",
    ),
    "datetime": _Form(
        xsd="dateTime",
        sure=rf"{_DAY}T{_CLOCK}(?:\.[0-9]{{1,9}})?(?:Z|{_OFFSET})",
        perhaps=r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9].*",
        write="2026-11-23T03:00:00.000Z",
    ),
    "time": _Form(
        xsd="time",
        sure=rf"{_CLOCK}(?:\.[0-9]{{1,3}})?Z?",  # the guides know milliseconds, and nothing finer
        perhaps=r"[0-9]{1,2}:[0-9]{2}.*",
        write="03:00:00.000Z",
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedColumn:
    """A column and the field that it goes into.

    ``inserts`` and ``updates`` say what may become of a row. ``is_own`` false: the field is the parent's, by which it
    is found, so that only its type counts. ``prefixes`` are what an Id in it begins with, if that is known.
    ``to_deleted`` says that all records which it can name now are deleted first: a truncate's links to its own object.
    ``parent`` is the object whose field ``field`` is, for a column that names a parent by it which can be looked up.
    """

    name: str
    type: str
    field: Field
    inserts: bool
    updates: bool
    is_own: bool = True
    prefixes: Collection[str] = ()
    to_deleted: bool = False
    parent: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class CellFinding:
    """Why the row at ``index`` (from 0) of a batch cannot go in, with Salesforce's code.

    ``message`` names the column, never the value. ``doubtful`` says that the row is sent all the same.
    """

    index: int
    code: str
    message: str
    doubtful: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class _Spot:
    """The rows of a column, as a boolean array, that share a reason."""

    rows: pa.BooleanArray
    code: str
    message: str
    doubtful: bool = False


_Look = Callable[[pa.StringArray], Iterator[_Spot]]
"""From the cells of a column, without spaces at their ends, to what is wrong with some of them."""


class CellChecks:
    """The checks of a result's columns."""

    def __init__(self, columns: Iterable[CheckedColumn], *, doubts: bool = True) -> None:
        """``doubts`` false: only sure findings are wanted, so that most columns need no check."""
        found = [(column, list(_looks(column, doubts=doubts))) for column in columns]
        self._looks = [(column, looks) for column, looks in found if looks]
        self._doubts = doubts

    @property
    def names(self) -> list[str]:
        """The columns with cells that have to be looked at."""
        return [column.name for column, _ in self._looks]

    def look(self, batch: pa.RecordBatch) -> list[CellFinding]:
        """Return, in the order of the rows, why rows of a batch cannot go in: of each row one reason, a sure one first.

        ``batch`` has the columns :attr:`names`, in that order: strings without nulls.
        """
        sure: dict[int, CellFinding] = {}
        doubtful: dict[int, CellFinding] = {}
        for (column, looks), cells in zip(self._looks, batch.columns, strict=True):
            trimmed = pc.utf8_trim(cells, BLANKS)
            spots = [spot for look in looks for spot in look(trimmed)]
            if self._doubts and family(column.type) == "text" and _takes_no_blanks(column.field):
                spots.append(_blanks(column.name, cells, trimmed))
            for spot in spots:
                if spot.doubtful and not self._doubts:
                    continue
                found = doubtful if spot.doubtful else sure
                for index in pc.indices_nonzero(spot.rows).to_pylist():
                    finding = CellFinding(
                        index=index, code=spot.code, message=spot.message, doubtful=spot.doubtful
                    )  # fmt: skip
                    found.setdefault(index, finding)
        both = doubtful | sure
        return [both[index] for index in sorted(both)]


def _takes_no_blanks(field: Field) -> bool:
    kind = KINDS.get(field.type)
    return kind in _FORMS or (kind == "id" and field.plain_id) or (kind == "picklist" and field.restricted)


def _blanks(name: str, cells: pa.StringArray, trimmed: pa.StringArray) -> _Spot:
    """Return the cells with spaces at their ends: no source says that Salesforce trims values that are no text."""
    words = f"{name}: spaces at the ends of the value; trim it in the query"
    return _Spot(rows=pc.not_equal(cells, trimmed), code="INVALID_FIELD", message=words, doubtful=True)


def _looks(column: CheckedColumn, *, doubts: bool) -> Iterator[_Look]:
    if fit(column.type, column.field) is Fit.SOME:
        yield from _type_looks(column, doubts=doubts)
    if column.is_own and column.field.restricted and column.field.values and (doubts or not column.updates):
        yield _choice_look(column)
    if column.is_own and doubts:
        yield from _own_looks(column)
    if doubts and column.field.type == "datetime" and family(column.type) == "timestamp":
        yield _years_look(column.name)  # casts lets one day before 1700 pass


def _type_looks(column: CheckedColumn, *, doubts: bool) -> Iterator[_Look]:
    field, kind = column.field, KINDS.get(column.field.type)
    if kind == "id" and field.plain_id:
        yield _id_look(column)
    elif kind in _FORMS and kind not in _WELL_FORMED.get(family(column.type), ()):
        yield _form_look(column.name, _FORMS[kind])
    if kind == "int" and (doubts or _FITS_AN_INT.fullmatch(column.type) is None):
        yield _int_look(column.name, bits=_INT_BITS[field.type], digits=field.digits)
    if doubts and kind == "number" and max(1, field.scale) <= field.precision <= LARGEST_EXPONENT:
        yield _digits_look(column.name, whole=field.precision - field.scale, scale=field.scale)
    if doubts and kind in {"date", "datetime"}:
        yield _years_look(column.name)


def _own_looks(column: CheckedColumn) -> Iterator[_Look]:
    field = column.field
    if field.type in _LENGTHS and field.length and not field.html and not (field.restricted and field.values):
        yield _length_look(column.name, field.length)
    if column.to_deleted and field.plain_id:
        yield _deleted_look(column.name)
    if field.type == "email" and family(column.type) != "null":
        yield _email_look(column.name)
    if column.inserts and field.required:
        yield _required_look(column.name, ["", "#N/A"])
    elif not field.nillable and (field.updateable if column.updates else field.createable):
        yield _required_look(column.name, ["#N/A"])


def _form_look(name: str, form: _Form) -> _Look:
    words = f"{name}: the text is not a valid value for the type xsd:{form.xsd}; write {form.write}"

    def look(cells: pa.StringArray) -> Iterator[_Spot]:
        odd = _and_not(_filled(cells), pc.match_substring_regex(cells, rf"\A(?:{form.sure})\z"))
        if pc.any(odd).as_py():
            perhaps = pc.match_substring_regex(cells, rf"\A(?s:{form.perhaps})\z")
            yield _Spot(rows=_and_not(odd, perhaps), code="INVALID_FIELD", message=words)
            yield _Spot(rows=pc.and_(odd, perhaps), code="INVALID_FIELD", message=words, doubtful=True)

    return look


def _int_look(name: str, *, bits: int, digits: int) -> _Look:
    """Look for whole numbers that no ``bits`` hold, and for more ``digits`` than the field takes."""
    largest = 2 ** (bits - 1) - 1
    words = f"{name}: the number is not a valid value for the type xsd:{'int' if bits == 32 else 'long'}"  # noqa: PLR2004 - an int's

    def look(cells: pa.StringArray) -> Iterator[_Spot]:
        whole = pc.match_substring_regex(cells, r"\A[+-]?[0-9]+\z")
        long = pc.and_(whole, pc.greater_equal(pc.utf8_length(cells), len(str(largest))))
        if pc.any(long).as_py():
            bare = pc.replace_substring_regex(cells, r"\A([+-]?)0*([0-9])", r"\1\2")
            numbers = pc.utf8_slice_codeunits(pc.if_else(long, bare, "0"), 0, _LONGER_THAN_ANY).to_pylist()
            beyond = [not -largest - 1 <= int(number) <= largest for number in numbers]
            yield _Spot(rows=pa.array(beyond), code="INVALID_FIELD", message=words)
        if digits:
            many = pc.match_substring_regex(cells, rf"\A[+-]?0*[1-9][0-9]{{{digits},}}\z")
            yield _Spot(rows=many, code=_RANGE, message=f"{name}: more than {digits} digits", doubtful=True)

    return look


_RANGE = "NUMBER_OUTSIDE_VALID_RANGE"


def _digits_look(name: str, *, whole: int, scale: int) -> _Look:
    """Look for numbers with more than ``whole`` digits before the point once ``scale`` are left after it."""
    words = f"{name}: more than {whole} digits before the point"
    plain = rf"0*[1-9][0-9]{{{whole},}}(?:\.[0-9]*)?"
    rounded_up = rf"0*9{{{whole}}}\.9{{{scale}}}[5-9][0-9]*"
    unit = Decimal(1).scaleb(-scale)

    def is_beyond(text: str) -> bool:
        number = Decimal(text)
        if not number or number.adjusted() < -scale - 1:
            return False
        return number.adjusted() >= whole or abs(number.quantize(unit, ROUND_HALF_UP, _EXACT)).adjusted() >= whole

    def look(cells: pa.StringArray) -> Iterator[_Spot]:
        many = pc.match_substring_regex(cells, rf"\A[+-]?(?:{plain}|{rounded_up})\z")
        yield _Spot(rows=many, code=_RANGE, message=words, doubtful=True)
        powers = pc.match_substring_regex(cells, rf"\A{_PLAIN}[eE][+-]?[0-9]{{1,3}}\z")
        if pc.any(powers).as_py():
            yield _Spot(rows=_each(cells, powers, is_beyond), code=_RANGE, message=words, doubtful=True)

    return look


_EXACT = Context(prec=2 * LARGEST_EXPONENT + 2)
"""Enough digits for what is rounded, whatever the scale."""


def _each(cells: pa.StringArray, rows: pa.BooleanArray, test: Callable[[str], bool]) -> pa.BooleanArray:
    """Say of which ``rows`` the test is true; each distinct text is tested once."""
    distinct = pc.if_else(rows, cells, pa.scalar(None, pa.string())).dictionary_encode()
    found = pa.array([test(text) for text in distinct.dictionary.to_pylist()], pa.bool_())
    return pc.fill_null(found.take(distinct.indices), False)  # noqa: FBT003 - the value to fill in


def _years_look(name: str) -> _Look:
    """Look for years that no date has: they run from 1700 to 4000 (Data Loader guide, Data Import Dates)."""
    words = f"{name}: the year is not between 1700 and 4000"

    def look(cells: pa.StringArray) -> Iterator[_Spot]:
        dated = pc.match_substring_regex(cells, r"\A[0-9]{4}-")
        outside = _and_not(dated, pc.match_substring_regex(cells, rf"\A(?:{_YEARS})"))
        yield _Spot(rows=outside, code="INVALID_FIELD", message=words, doubtful=True)
        near = pc.match_substring_regex(cells, _NEAR_AN_END)
        if pc.any(near).as_py():
            yield _Spot(rows=_each(cells, near, _leaves_the_years), code="INVALID_FIELD", message=words, doubtful=True)

    return look


_NEAR_AN_END = rf"\A(?:1700-01-01T{_CLOCK}(?:\.[0-9]{{1,9}})?\+|4000-12-31T{_CLOCK}(?:\.[0-9]{{1,9}})?-){_OFFSET[4:]}\z"
"""An instant that may be in another year in UTC, outside of those that dates have."""


def _leaves_the_years(text: str) -> bool:
    return not 1700 <= datetime.fromisoformat(text).astimezone(UTC).year <= 4000  # noqa: PLR2004 - as in _years_look


def _id_look(column: CheckedColumn) -> _Look:
    words = f"{column.name}: id value of incorrect type: {column.field.name} takes Ids of 15 or 18 letters and digits"
    other = f"{column.name}: the Id is of another object"
    own = "|".join(f"{prefix}.{{12}}|(?i:{prefix}).{{15}}" for prefix in sorted(column.prefixes))

    def look(cells: pa.StringArray) -> Iterator[_Spot]:
        is_id = pc.match_substring_regex(cells, _ID)
        yield _Spot(rows=_and_not(_filled(cells), is_id), code="MALFORMED_ID", message=words)
        if own:
            elsewhere = _and_not(is_id, pc.match_substring_regex(cells, rf"\A(?:{own})\z"))
            yield _Spot(rows=elsewhere, code="INVALID_CROSS_REFERENCE_KEY", message=other, doubtful=True)

    return look


def _deleted_look(name: str) -> _Look:
    """Look for Ids: new records get new ones, so that each is of a record that is deleted first."""
    words = f"{name}: the Id is of a record that is deleted first; link by an external id of the parent"

    def look(cells: pa.StringArray) -> Iterator[_Spot]:
        yield _Spot(rows=_filled(cells), code="INVALID_CROSS_REFERENCE_KEY", message=words, doubtful=True)

    return look


def _choice_look(column: CheckedColumn) -> _Look:
    """Look for what a restricted picklist does not have, neither as a value nor as a label.

    One in another case is doubtful: no source says that Salesforce takes it. A record may keep a value that is no
    longer in the list, so that an update is doubtful, too.
    """
    exact = pa.array(column.field.values, pa.string())
    lowered = pc.utf8_lower(pc.utf8_trim(exact, BLANKS))
    words = f"{column.name}: bad value for restricted picklist field"
    code = "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"

    def unknown(cells: pa.StringArray, known: pa.StringArray, *, lenient: bool) -> pa.BooleanArray:
        bad = _and_not(_filled(cells), pc.is_in(cells, known))
        if column.field.type != "multipicklist" or not pc.any(bad).as_py():
            return bad
        parts = pc.split_pattern(cells, ";")
        each = pc.list_flatten(parts)
        if lenient:
            each = pc.utf8_trim(each, BLANKS)
        odd = pc.invert(pc.is_in(each, known))
        odd = pc.and_(odd, pc.not_equal(each, "")) if lenient else odd
        rows = pc.unique(pc.filter(pc.list_parent_indices(parts), odd))
        return pc.and_(bad, pc.is_in(pa.array(range(len(cells)), pa.int64()), rows.cast(pa.int64())))

    def look(cells: pa.StringArray) -> Iterator[_Spot]:
        odd = unknown(cells, exact, lenient=False)
        if not pc.any(odd).as_py():
            return
        bad = unknown(pc.utf8_lower(cells), lowered, lenient=True)
        yield _Spot(rows=bad, code=code, message=words, doubtful=column.updates)
        yield _Spot(rows=_and_not(odd, bad), code=code, message=words, doubtful=True)

    return look


def _length_look(name: str, length: int) -> _Look:
    words = f"{name}: data value too large (max length={length})"

    def look(cells: pa.StringArray) -> Iterator[_Spot]:
        if (pc.max(pc.binary_length(cells)).as_py() or 0) > length:  # bytes are no fewer than characters
            lines = pc.replace_substring(cells, "\r\n", "\n")  # which Salesforce may count as one
            too_long = pc.greater(pc.utf8_length(lines), length)
            yield _Spot(rows=too_long, code="STRING_TOO_LONG", message=words, doubtful=True)

    return look


def _email_look(name: str) -> _Look:
    """Look for what is no e-mail address by any rule: Salesforce's own, which are not public, refuse more."""
    words = f"{name}: invalid email address"

    def look(cells: pa.StringArray) -> Iterator[_Spot]:
        bad = _and_not(_filled(cells), pc.match_substring_regex(cells, r"\A[^@\s]+@[^@\s]+\.[^@\s]+\z"))
        yield _Spot(rows=bad, code="INVALID_EMAIL_ADDRESS", message=words, doubtful=True)

    return look


def _required_look(name: str, empties: Sequence[str]) -> _Look:
    """Look for the cells ``empties``, which would leave a required field without a value."""
    words = f"Required fields are missing: {name}"

    def look(cells: pa.StringArray) -> Iterator[_Spot]:
        empty = pc.is_in(cells, pa.array(empties))
        yield _Spot(rows=empty, code="REQUIRED_FIELD_MISSING", message=words, doubtful=True)

    return look


def _filled(cells: pa.StringArray) -> pa.BooleanArray:
    """Say which cells hold a value: an empty one leaves the field alone, and ``#N/A`` empties it."""
    return pc.and_(pc.not_equal(cells, ""), pc.not_equal(cells, "#N/A"))


def _and_not(one: pa.BooleanArray, other: pa.BooleanArray) -> pa.BooleanArray:
    return pc.and_(one, pc.invert(other))
