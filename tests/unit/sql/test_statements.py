import pytest

from exporter.failures import ExportError, FailureKind
from exporter.sql.one_select import MYSQL, STANDARD, Lexis, one_select


@pytest.mark.parametrize(
    ("sql", "kept"),
    [
        ("select 1", "select 1"),
        ("select 1;", "select 1"),
        (" (select 1) ;; -- ;\n", " (select 1) "),
        ("with x as (select ';') select * from x /* ; */", "with x as (select ';') select * from x /* ; */"),
        ("-- first\nVALUES (1)", "-- first\nVALUES (1)"),
        ("select \";\" as a, 'it''s;' as b", "select \";\" as a, 'it''s;' as b"),
        ("table t", "table t"),
    ],
)
@pytest.mark.parametrize("lexis", [STANDARD, MYSQL], ids=["standard", "mysql"])
def test_one_statement_that_reads_is_kept_to_the_letter(sql: str, kept: str, lexis: Lexis) -> None:
    assert one_select(sql, lexis=lexis) == kept


@pytest.mark.parametrize(
    ("sql", "lexis"),
    [
        ("select 'a\\'; --' as a", MYSQL),
        ('select "a\\"; #" as a', MYSQL),
        ("select 1 # ; drop table t", MYSQL),
        ("select 1 --; drop", STANDARD),
        ("select $$ ; $$ as a, $t$ ; $$ ; $t$ as b", STANDARD),
        ("select E'it\\'s ;' as a", STANDARD),
        ("select `a;b` from t", MYSQL),
    ],
)
def test_a_semicolon_in_a_text_is_none(sql: str, lexis: Lexis) -> None:
    assert one_select(sql, lexis=lexis) == sql


@pytest.mark.parametrize(
    ("sql", "lexis", "code"),
    [
        ("", STANDARD, "NOT_ONE_QUERY"),
        ("-- nothing\n;", STANDARD, "NOT_ONE_QUERY"),
        ("select 1; select 2", STANDARD, "NOT_ONE_QUERY"),
        ("select '\\'; delete from t --'", STANDARD, "NOT_ONE_QUERY"),
        ("select a like'x\\'; delete from t --'", STANDARD, "NOT_ONE_QUERY"),
        ("select 1 --; delete from t\n", MYSQL, "NOT_ONE_QUERY"),
        ("select 1 /*! ; delete from t */", MYSQL, "NOT_ONE_QUERY"),
        ("/* select */ delete from t", STANDARD, "NOT_A_SELECT"),
        ("/*!50000 delete */ from t", MYSQL, "NOT_A_SELECT"),
        ("/*M!100000 delete */ from t", MYSQL, "NOT_A_SELECT"),
        ("$1", STANDARD, "NOT_A_SELECT"),
        ("select 'a'into outfile 'b'", MYSQL, "QUERY_WRITES"),
        ("select 1 /*!into outfile 'b'*/", MYSQL, "QUERY_WRITES"),
    ],
)
def test_anything_else_is_configuration(sql: str, lexis: Lexis, code: str) -> None:
    with pytest.raises(ExportError) as caught:
        one_select(sql, lexis=lexis, refused={"INTO"})
    assert (caught.value.kind, caught.value.code) == (FailureKind.CONFIGURATION, code)


def test_a_refused_word_may_stand_in_a_text() -> None:
    sql = "select 'into' as a, `into` from t -- into"
    assert one_select(sql, lexis=MYSQL, refused={"INTO"}) == sql
