"""What is text, a quoted name, a comment and code, by the rules of each engine."""

import subprocess
import sys

import pytest

from exporter.failures import ExportError, FailureKind
from exporter.sql.one_select import first_word, no_select
from exporter.sql.parameters import number_parameters
from exporter.sql.token_kinds import Kind, Token
from exporter.sql.tokens import ANY_ENGINE, find, read_tokens

STANDARD = ["duckdb", "postgres", "sqlite", "trino"]
BACKSLASH = ["mysql", "spark", "hive", "bigquery", "snowflake"]
EVERY = [*STANDARD, *BACKSLASH]


def texts(sql: str, dialect: str, kind: Kind) -> list[str]:
    return [sql[token.start : token.end] for token in read_tokens(sql, dialect) if token.kind is kind]


def numbered(sql: str, dialect: str | None, **given: object) -> str:
    return number_parameters(sql, given, write=lambda number: f"<{number}>", dialect=dialect)[0]


def fault_of(sql: str, dialect: str | None) -> ExportError:
    with pytest.raises(ExportError) as caught:
        numbered(sql, dialect, a=1)
    assert caught.value.kind is FailureKind.CONFIGURATION
    return caught.value


def test_a_query_falls_into_its_tokens_with_their_places() -> None:
    sql = "select 'é😀' , \"b\"+1.5 -- c\r\n"
    assert read_tokens(sql, "postgres") == (
        Token(Kind.WORD, 0, 6),
        Token(Kind.TEXT, 7, 11),
        Token(Kind.SIGN, 12, 13),
        Token(Kind.QUOTED, 14, 17),
        Token(Kind.SIGN, 17, 18),
        Token(Kind.NUMBER, 18, 21),
    )


@pytest.mark.parametrize("dialect", EVERY)
def test_strings_names_and_comments_hold_no_parameter(dialect: str) -> None:
    sql = "select '$a', 'it''s $a', '', $a + $a /* ' $a */ -- it's $a\n, 1 -$a from t"
    assert numbered(sql, dialect, a=1) == sql.replace("$a + $a", "<1> + <1>").replace("1 -$a", "1 -<1>")


@pytest.mark.parametrize(
    ("dialects", "sql"),
    [
        (STANDARD, r"select 'a\', <a>"),
        (BACKSLASH, r"select 'it\'s $a', <a>"),
        (["spark", "hive", "bigquery"], r'select "it\"s $a", <a>'),
        (["mysql"], r'select "it\'s ""$a\\\\", <a>, "\\\\"'),
        (["duckdb", "postgres", "sqlite", "trino", "snowflake"], 'select "it\'s ""$a""", <a>'),
        (["mysql", "spark", "hive", "sqlite"], "select `it's ``$a`, <a>"),
        (["bigquery"], r"select `it\`s $a`, <a>"),
        (["sqlite"], "select [it's $a], <a>"),
        (["duckdb", "postgres"], r"select e'it\'s $a', E'\\', <a>"),
        (["duckdb", "postgres"], "select $$it's $a$$, $t$ $a $$ it's $t$, <a>+<a>"),
        (["postgres"], "select $é$ it's $a $é$, u&'it''s $a' uescape '!', x$a$b, <a>"),
        (["snowflake"], "select $$it's $a$$, $1, <a>+<a>"),
        (["trino"], "with function f() returns int language python as $$ it's $a $$ select <a>, u&'it''s $a'"),
        (["oracle"], "select nq'[it's $a]', q'$it's $a$', x$a, <a>"),
        (["tsql"], "select [it's ]] $a], N'it''s $a', #a$a, <a>"),
        (["hive", "spark", "mysql"], "select <a> -- /*\n /* it's */, <a>"),
        (["bigquery"], "select '''it's $a''', \"\"\"say \\\"\"\" $a\"\"\", r'\\' $a', b'$a', <a>"),
        (["spark"], "select r'\\', <a>, r\"$a\", $t$ it's $a $t$"),
        (["mysql", "spark", "hive", "duckdb", "trino", "sqlite"], "select x'0 0', N'it''s $a', 5L, 0xFF, 0b1, <a>"),
        (["duckdb", "postgres", "spark"], "select /* it's /* $a */ $a' */ <a>"),
        (["mysql", "sqlite", "trino", "bigquery", "snowflake"], "select /* it's /* $a */ <a>"),
        (["mysql", "bigquery"], "select <a> # it's $a\n, <a>"),
        (["snowflake"], "select <a> // it's $a\n, <a>"),
        (["duckdb", "postgres", "sqlite", "trino"], "select 7 //<a>"),
        (["mysql"], "select 5--<a>, 6 --\t it's $a\n, <a> /*! + 1 */ /*+ it's $a */"),
        (["spark"], "select /*+ hint('$a') */ <a>"),
        (["duckdb", "postgres", "trino", "spark"], "select 1 -- it's $a\r, <a>"),
        (["sqlite", "mysql"], "select 1 -- it's $a\r $a\n, <a>"),
        (["postgres"], "select '{}'::jsonb ? <a>, a @> <a>, a -|--it's $a\n<a>, x->>'$.a', <a>::text[1:2], @a"),
        (EVERY, "select {{ <a> }} {% <a> %} {#"),
        (EVERY, "show <a>; call f(<a>); explain analyze <a>"),
        (EVERY, "select <a>\u00a0, 'e\u0301😀$a' , <a>"),
        (EVERY, "select a$a, x.$1, $a1, $, '$.a', b -- $a"),
    ],
)
def test_each_engine_s_own_ways_are_known(dialects: list[str], sql: str) -> None:
    for dialect in dialects:
        given = {"a": 1, "a1": 2}
        expected = sql.replace("<a>", "<1>").replace("$a1", "<1>")
        assert numbered(sql.replace("<a>", "$a"), dialect, **given) == expected, dialect


@pytest.mark.parametrize(
    ("sql", "dialect", "code", "says"),
    [
        ("select $a,\n 'x", "duckdb", "QUERY_NOT_READ", "in line 2"),
        ("select $a /* x", "postgres", "QUERY_NOT_READ", "begins in line 1 and never ends"),
        ("select $$ $a", "postgres", "QUERY_NOT_READ", "begins in line 1"),
        ("select $a -- x \\\n, $a", "spark", "QUERY_UNCLEAR", "backslash"),
        ("select /*! '*/ $a, ' */ 1 -- '", "mysql", "QUERY_UNCLEAR", "/*!"),
        ("select E'a'\n'-'\n'b\\', $a, \\'c'", "postgres", "QUERY_UNCLEAR", "E'"),
        ("select /*/* */ $a */ $a", "postgres", "QUERY_UNCLEAR", "comment inside a comment"),
        ("select /* /* */* ' */ $a ' */", "postgres", "QUERY_UNCLEAR", "comment inside a comment"),
        (r'select "it\"s", $a, "\" "', "mysql", "QUERY_UNCLEAR", "ANSI_QUOTES"),
        ("select /* /* */ */ $a", "hive", "QUERY_UNCLEAR", "comment inside a comment"),
        ("select $$ $a $$", "mysql", "QUERY_UNCLEAR", "dollar signs"),
        ("select $x$ $a $x$", "sqlite", "QUERY_UNCLEAR", "dollar signs"),
    ],
)
def test_what_an_engine_may_read_otherwise_is_refused(sql: str, dialect: str, code: str, says: str) -> None:
    fault = fault_of(sql, dialect)
    assert (fault.code, says in fault.message) == (code, True), fault.message


def test_for_an_unknown_engine_all_of_them_have_to_agree() -> None:
    assert numbered("select $a, 'it''s $a' -- $a\n", None, a=1) == "select <1>, 'it''s $a' -- $a\n"
    for sql in (r"select 'it\'s', $a, ' \' '", "select 1 # $a", "select /* /* */ $a */", "select 7 // $a"):
        fault = fault_of(sql, None)
        assert fault.code == "QUERY_UNCLEAR"
        assert "which engine this connection leads to is not known" in fault.message
    assert fault_of("select $a, '", None).code == "QUERY_NOT_READ"


def test_the_engines_that_stand_for_all_read_what_is_found_among_their_tokens() -> None:
    seen: list[tuple[Token, ...]] = []
    assert find("select 1", None, seen.append) is None
    assert len(seen) == len(ANY_ENGINE)


def test_text_with_nothing_to_replace_is_not_looked_at() -> None:
    for sql in ("select 'open", "select /* open", "select $1, '$'"):
        assert number_parameters(sql, {"a": 1}, write=str, dialect="postgres") == (sql, [])


def test_the_first_word_is_that_behind_the_comments_of_the_engine() -> None:
    assert first_word("/* /* select */ */ -- values\n(delete from t)", dialect="postgres") == "DELETE"
    assert first_word("# select\nupdate t set a = 1", dialect="mysql") == "UPDATE"
    assert first_word("-- nothing", dialect="sqlite") == ""
    assert first_word("insert into t values ('open", dialect="sqlite") == "INSERT"
    assert first_word("-- x\n(select 1)") == "SELECT"


@pytest.mark.parametrize(
    ("sql", "dialect", "code"),
    [
        ("select", "trino", "NO_COLUMNS"),
        ("with a as (select 1) select 'into' from a", "trino", "NO_COLUMNS"),
        ("table empty -- into", None, "NO_COLUMNS"),
        ("select 1 as a into b", "postgres", "QUERY_WRITES"),
        ("call p()", "trino", "NOT_A_SELECT"),
        ("-- nothing", "trino", "NOT_ONE_QUERY"),
    ],
)
def test_a_query_that_gave_no_columns_is_told_why(sql: str, dialect: str | None, code: str) -> None:
    fault = no_select(sql, dialect=dialect)
    assert fault.code == code
    assert "of type SELECT" not in fault.message


def test_threads_that_read_the_first_queries_of_a_process_at_once_all_read_them() -> None:
    """In processes of their own: what is imported in a circle is half made for a moment only."""
    program = """
import threading, time
from exporter.sql.tokens import read_tokens
start, failed = threading.Barrier(40), []
def read(number, dialect):
    start.wait()
    time.sleep(number * 0.004)  # so that some come while it is half made
    try:
        read_tokens("select :a", dialect)
    except BaseException as error:
        failed.append(repr(error))
dialects = ["duckdb", "postgres", "mysql", "trino"] * 10
threads = [threading.Thread(target=read, args=each) for each in enumerate(dialects)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(failed)
"""
    for _ in range(4):
        done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
        assert done.stdout == "[]\n"
