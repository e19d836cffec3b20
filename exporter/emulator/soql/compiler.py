"""From a SOQL query to SQLite's SQL: names checked against the schema, values bound, parents joined. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

from exporter.emulator.http import RefusalError
from exporter.emulator.org.schema import FOLD, NUMBER_TYPES, TEXT_TYPES, Field, ObjectType, OrgSchema
from exporter.emulator.soql.literals import bound_value, compare_days
from exporter.emulator.soql.tree import Comparison, Condition, Junction, Membership, Path, Query, Selected
from exporter.rows.key_forms import fold

LONGEST_OFFSET = 2000
_MAX_DEPTH = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """A value of the answer: the path that leads to it, or an aggregate's name; ``field`` says how to show it."""

    path: Path
    field: Field | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Compiled:
    """A statement whose columns are the ``shown`` ones in order, and the Id of each object on the way, by path."""

    shown: tuple[Shown, ...]
    parents: tuple[tuple[Path, ObjectType], ...]
    sql: str
    parameters: tuple[object, ...]
    first_sql: str
    """The first column alone, as ``v``."""
    id_sql: str
    """The Ids alone, in order; empty for aggregates."""
    page_sql: str
    """The same columns for the Ids of a JSON list, its one parameter, in their order; empty for aggregates."""
    aggregated: bool


def compile_query(schema: OrgSchema, query: Query, *, deleted_too: bool, now: datetime) -> Compiled:
    """Compile a query. Raises RefusalError with the REST API's code."""
    return _Compiler(schema, query, deleted_too=deleted_too, now=now).compiled()


@dataclass(kw_only=True, slots=True)
class _Join:
    alias: str
    object: ObjectType
    sql: str = ""


@dataclass(slots=True)
class _Compiler:
    schema: OrgSchema
    query: Query
    deleted_too: bool = field(kw_only=True)
    now: datetime = field(kw_only=True)
    prefix: str = "t"
    joins: dict[Path, _Join] = field(default_factory=dict)
    parameters: list[object] = field(default_factory=list)

    def __post_init__(self) -> None:
        found = self.schema.find(self.query.object)
        if found is None:
            message = f"sObject type '{self.query.object}' is not supported."
            raise RefusalError(400, "INVALID_TYPE", message)
        self.joins[()] = _Join(alias=f"{self.prefix}0", object=found)

    def compiled(self) -> Compiled:
        query = self.query
        base = self.joins[()]
        chosen = self._chosen()
        shown = tuple(one for one, _ in chosen)
        grouped = [self._column(path)[0] for path in query.grouped]
        ordered = [
            f"{self._column(each.path)[0]} {'DESC' if each.descending else 'ASC'} "
            f"NULLS {'LAST' if each.nulls_last else 'FIRST'}"
            for each in query.ordered
        ]
        where = self._where()
        parents = tuple((path, join.object) for path, join in self.joins.items())
        columns = [sql for _, sql in chosen]
        if not query.aggregated and not query.counts:
            columns += [f'{self.joins[path].alias}."Id"' for path, _ in parents]
            if not query.ordered:
                ordered = [f'{base.alias}."Id"']
        source = f'"{base.object.name}" {base.alias}' + "".join(join.sql for join in self.joins.values())
        tail = where + (f" GROUP BY {', '.join(grouped)}" if grouped else "")
        tail += f" ORDER BY {', '.join(ordered)}" if ordered and not query.counts else ""
        tail += self._limits()
        plain = not query.aggregated and not query.counts
        page = f' WHERE {base.alias}."Id" = k.value ORDER BY k.key'
        return Compiled(
            shown=shown,
            parents=parents if plain else (),
            sql=_select(columns, source + tail),
            first_sql=_select([f"{columns[0]} AS v"], source + tail),
            parameters=tuple(self.parameters),
            id_sql=_select([f'{base.alias}."Id"'], source + tail) if plain else "",
            page_sql=_select(columns, f"json_each(?) k CROSS JOIN {source}{page}") if plain else "",
            aggregated=query.aggregated,
        )

    def _chosen(self) -> list[tuple[Shown, str]]:
        if self.query.counts:
            return [(Shown(path=("count",), field=None), "count(*)")]
        chosen: list[tuple[Shown, str]] = []
        unnamed = 0
        for each in self.query.selected:
            if each.function == "fields":
                chosen += [self._plain((name,)) for name in self._all_names(each)]
            elif each.function:
                name = each.alias or f"expr{unnamed}"
                unnamed += not each.alias
                chosen.append(self._aggregate(each, name))
            else:
                chosen.append(self._plain(each.path))
        return chosen

    def _all_names(self, each: Selected) -> list[str]:
        which = each.path[0].lower()
        fields = self.joins[()].object.fields.values()
        names = {
            "all": [one.name for one in fields],
            "standard": [one.name for one in fields if not one.name.endswith("__c")],
            "custom": [one.name for one in fields if one.name.endswith("__c")],
        }
        if which not in names:
            raise RefusalError(400, "MALFORMED_QUERY", f"unexpected token: '{each.path[0]}'")
        return names[which]

    def _plain(self, path: Path) -> tuple[Shown, str]:
        sql, found, canonical = self._column(path)
        grouped = [self._column(each)[0] for each in self.query.grouped]
        if self.query.aggregated and sql not in grouped:
            message = f"Field must be grouped or aggregated: {'.'.join(path)}"
            raise RefusalError(400, "MALFORMED_QUERY", message)
        return Shown(path=(found.name,) if self.query.aggregated else canonical, field=found), sql

    def _aggregate(self, each: Selected, name: str) -> tuple[Shown, str]:
        sql, found, _ = self._column(each.path)
        if each.function == "count":
            return Shown(path=(name,), field=None), f"count({sql})"
        if each.function == "count_distinct":
            return Shown(path=(name,), field=None), f"count(DISTINCT {sql})"
        if each.function in {"sum", "avg"} and found.type not in NUMBER_TYPES:
            message = f"field {found.name} does not support aggregate operator {each.function.upper()}"
            raise RefusalError(400, "INVALID_FIELD", message)
        return Shown(path=(name,), field=found), f"{each.function}({sql})"

    def _column(self, path: Path) -> tuple[str, Field, Path]:
        """Return the SQL of a field, joining the parents that lead there."""
        join = self.joins[()]
        walked: Path = ()
        if len(path) > _MAX_DEPTH + 1:
            raise RefusalError(400, "MALFORMED_QUERY", "a path leads through at most five parents")
        for step in path[:-1]:
            link = join.object.relationships.get(step.lower())
            if link is None:
                message = f"Didn't understand relationship '{step}' in field path."
                raise RefusalError(400, "INVALID_FIELD", message)
            parent = self.schema.find(link.reference_to[0])
            if parent is None or len(link.reference_to) > 1:
                raise RefusalError(400, "INVALID_FIELD", f"'{step}' may lead to several objects")
            walked = (*walked, cast("str", link.relationship))
            if walked not in self.joins:
                alias = f"{self.prefix}{len(self.joins)}"
                sql = f' LEFT JOIN "{parent.name}" {alias} ON {alias}."Id" = {join.alias}."{link.name}"'
                self.joins[walked] = _Join(alias=alias, object=parent, sql=sql)
            join = self.joins[walked]
        found = join.object.field(path[-1])
        if found is None:
            message = (
                f"No such column '{path[-1]}' on entity '{join.object.name}'. If you are attempting to use a custom "
                "field, be sure to append the '__c' after the custom field name. Please reference your WSDL or the "
                "describe call for the appropriate names."
            )
            raise RefusalError(400, "INVALID_FIELD", message)
        return f'{join.alias}."{found.name}"', found, (*walked, found.name)

    def _where(self) -> str:
        terms = [] if self.deleted_too else [f'{self.joins[()].alias}."IsDeleted" = 0']
        if self.query.where is not None:
            terms.append(self._condition(self.query.where))
        return f" WHERE {' AND '.join(terms)}" if terms else ""

    def _condition(self, condition: Condition) -> str:
        if isinstance(condition, Junction):
            parts = [self._condition(part) for part in condition.parts]
            if condition.operator == "not":
                return f"NOT ifnull({parts[0]}, 0)"  # SOQL knows true and false only
            return "(" + f" {condition.operator.upper()} ".join(parts) + ")"
        sql, found, _ = self._column(condition.path)
        if isinstance(condition, Membership):
            return self._membership(sql, found, condition)
        return self._comparison(sql, found, condition)

    def _comparison(self, sql: str, found: Field, condition: Comparison) -> str:
        operator, value = condition.operator, condition.value
        if value.kind == "null":
            if operator not in {"=", "!="}:
                raise RefusalError(400, "MALFORMED_QUERY", f"null cannot be compared by {operator}")
            return f"{sql} IS {'NOT ' if operator == '!=' else ''}NULL"
        if value.kind == "words":
            term, bounds = compare_days(sql, found, condition, self.now)
            self.parameters += bounds
            return term
        sql, [bound] = _folded(sql, found, [bound_value(found, value)])
        self.parameters.append(bound)
        if operator == "like":
            return f"{sql} LIKE ? ESCAPE '\\'"
        if operator == "!=":
            return f"({sql} <> ? OR {sql} IS NULL)"
        return f"{sql} {operator} ?"

    def _membership(self, sql: str, found: Field, condition: Membership) -> str:
        if isinstance(condition.values, Query):
            inner = _Compiler(
                self.schema, condition.values, deleted_too=False, now=self.now, prefix=f"{self.prefix}s"
            ).compiled()
            if len(inner.shown) != 1:
                raise RefusalError(400, "MALFORMED_QUERY", "a semi-join selects one field")
            self.parameters += inner.parameters
            listed, null = _select(["v"], f"({inner.first_sql}) WHERE v IS NOT NULL"), False
        else:
            values = [bound_value(found, value) for value in condition.values]
            null = None in values
            sql, given = _folded(sql, found, [value for value in values if value is not None])
            self.parameters += given
            listed = ", ".join("?" for value in values if value is not None)
        if condition.negated:
            return f"({sql} NOT IN ({listed}) {'AND' if null else 'OR'} {sql} IS {'NOT ' if null else ''}NULL)"
        return f"({sql} IN ({listed}) OR {sql} IS NULL)" if null else f"{sql} IN ({listed})"

    def _limits(self) -> str:
        if self.query.offset > LONGEST_OFFSET:
            message = f"Maximum SOQL offset allowed is {LONGEST_OFFSET}"
            raise RefusalError(400, "NUMBER_OUTSIDE_VALID_RANGE", message)
        limit = self.query.limit if self.query.limit is not None else -1
        if limit < 0 and not self.query.offset:
            return ""
        return f" LIMIT {limit} OFFSET {self.query.offset}"


def _folded(sql: str, found: Field, values: list[object]) -> tuple[str, list[object]]:
    """Return a column and values to compare without regard to case, where SQLite alone would see too many letters."""
    if found.case_sensitive or found.type not in TEXT_TYPES or all(str(value).isascii() for value in values):
        return sql, values
    return f"{FOLD}({sql})", [fold(value) if isinstance(value, str) else value for value in values]


def _select(columns: Sequence[str], source: str) -> str:
    return f"SELECT {', '.join(columns)} FROM {source}"  # noqa: S608 - names of the schema; values are bound
