"""Every kind of fault in a config file: where it is said to be, and in which words."""

import pytest

from scheduler.config.build import ConfigError, parse

HEAD = """\
[connections.warehouse]
type = "duckdb"
[connections.crm]
type = "salesforce"
login_url = "https://yourorg.my.salesforce.com"
client_id = "3MVG"
client_secret = { env = "CRM_SECRET" }
[connections.files]
type = "file"
directory = "out"
"""
JOB = """\
[jobs.contacts]
source = "warehouse"
query = "select 1"
"""
EXPORT = """\
[jobs.contacts.export]
connection = "crm"
object = "Contact"
"""


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return str(caught.value).splitlines()


def only_fault(text: str) -> str:
    found = faults(text)
    assert len(found) == 1, found
    return found[0].removeprefix("config.toml:").removeprefix("config.toml: ")


TOP = [
    ("schedule = 1", '1: schedule: "schedule" is an unknown key: the keys here are connections, daemon'),
    ("[conections.a]", '1: conections: "conections" is an unknown key: did you mean "connections"?'),
    ("daemon = 1", "1: daemon: daemon = 1: write a table, [daemon]"),
    ("jobs = 1", "1: jobs: jobs = 1: write one table each, [jobs.NAME]"),
    ("[daemon]\ntimezone = 'PST'", '2: daemon.timezone: timezone = "PST": '),
    ("[daemon]\nmax_running = 0", "2: daemon.max_running: max_running = 0: use at least 1"),
    ("[daemon]\nmax_running = true", "2: daemon.max_running: max_running = true: write a whole number, without quotes"),
    ("[daemon]\ndrain_timeout = '5 minutes'", '2: daemon.drain_timeout: drain_timeout = "5 minutes": a duration is'),
    ("[daemon]\ndrain_timeout = -1", "2: daemon.drain_timeout: drain_timeout = -1: a duration is whole seconds"),
    ("[daemon]\ndrain_timeout = '36501d'", "use at most 36500d"),
    ("[daemon]\ndrain_timeout = 1.5", "2: daemon.drain_timeout: drain_timeout = 1.5: a duration is whole seconds"),
    ("[daemon]\ndrain_timeout = '٣s'", "a duration is whole seconds"),
    ("[storage]\nurl = 'mysql://h/d'", '2: storage.url: url = "mysql://h/d": write "sqlite:///state.db" or'),
    ("[storage]\nurl = 'sqlite://'", 'write "sqlite:///state.db" or'),
    ("[storage]\nurl = 'sqlite:///:memory:'", "state must survive a restart"),
    ("[storage]\nurl = 'sqlite:///s.db?timeout=3'", "a SQLite address takes no options: leave out what begins with ?"),
    (
        "[storage]\nurl = 'postgresql+psycopg://u@127.0.0.1:notaport/d'",
        '2: storage.url: url = "postgresql+psycopg://***@',
    ),
    ("[storage]\nurl = 'postgresql+psycopg://u@h:notaport/d'", "a port is a number from 1 to 65535"),
    ("[storage]\nurl = 'postgresql+psycopg://h:/d'", "a port is a number from 1 to 65535"),
    ("[storage]\nurl = 'postgresql+psycopg://u@h:0/d'", "a port is a number from 1 to 65535"),
    ("[storage]\nurl = 'postgresql+psycopg://u@h:65536/d'", "a port is a number from 1 to 65535"),
    ("[storage]\nurl = 'postgresql+psycopg://u@[::1]:٣/d'", "a port is a number from 1 to 65535"),
    ("[storage]\nurl = 'postgresql+psycopg://u@h1:5432,h2:5432/d'", "a port is a number from 1 to 65535"),
    (
        "[storage]\nspool = '~/spool'",
        '2: storage.spool: spool = "~/spool": ~ is not expanded here: write the whole path',
    ),
    ("[defaults]\nsource = 'x'", '2: defaults.source: "source" is an unknown key: '),
    ("[defaults]\ndisable_after = -1", "2: defaults.disable_after: disable_after = -1: use at least 0"),
    ("[defaults]\ndelay = '366d'", "2: defaults.delay: delay = 31622400: "),
    ("[defaults]\ntimezone = 'Europe/Pari'", "2: defaults.timezone: "),
    ("[notify]\nurls = ['no scheme']", "2: notify.urls[0]: urls: write an address with a scheme"),
    ("[notify]\non = ['fail']", '2: notify.on[0]: on = "fail": use "failed", "partial", "disabled", "recovered" or'),
    ("[notify]\non = 'failed'", '2: notify.on: on = "failed": write a list in [ ]'),
]
CONNECTIONS = [
    ("[connections.a]\n", '1: connections.a.type: type is missing: write type = "duckdb", "file" or "salesforce"'),
    (
        "[connections.a]\ntype = 'duckbd'",
        '2: connections.a.type: type = "duckbd": use "duckdb", "sqlite", "postgresql", "mysql", "trino", ',
    ),
    ("[connections]\na = 1", "2: connections.a: write a table: [connections.a]"),
    (
        "[connections.'a b']\ntype = 'duckdb'",
        '1: connections."a b": "a b" is no name for a connection: use 1 to 64 letters',
    ),
    ("[connections.-a]\ntype = 'duckdb'", '"-a" is no name for a connection'),
    ("[connections.a]\ntype = 'duckdb'\npath = ''", '3: connections.a.path: path = "": it may not be empty'),
    ("[connections.a]\ntype = 'duckdb'\nread_only = 'no'", 'read_only = "no": write true or false, without quotes'),
    ("[connections.a]\ntype = 'file'", '1: connections.a.directory: directory is missing: write directory = "out"'),
]
LOGIN = [
    ("https://login.salesforce.com", "works only at the org's own address"),
    ("https://TEST.salesforce.com.", "works only at the org's own address"),
    ("http://yourorg.my.salesforce.com", "use https: the secret would cross the network in the clear"),
    ("http://127.0.0.1.example.com", "use https: "),
    ("yourorg.my.salesforce.com", 'write a URL such as "https://yourorg.my.salesforce.com"'),
    ("https://", "write a URL such as"),
    ("https://h:99999", "write a URL such as"),
    ("https://[::1", "write a URL such as"),
    ("https://h/services/oauth2/token", "write the org's address only"),
    ("https://u:hunter2pw@h", "write the org's address only"),
]
SECRETS = [
    ("12345", "write the secret in quotes, or better { env"),
    ("''", "write the secret in quotes, or better { env"),
    ("{}", "a reference names exactly one place"),
    ("{ env = 'A', file = 'b' }", "a reference names exactly one place"),
    ("{ enV = 'hunter2pw' }", "a reference names exactly one place"),
    ("{ env = 'A', default = 'hunter2pw' }", "a reference names exactly one place"),
    ("{ env = 5 }", "env is text in quotes, and not empty"),
    ("{ file = '~/x' }", "~ is not expanded here"),
    ("{ credential = '../x' }", "a credential has a name, not a path"),
    ("{ env = 'A', shared = true }", "shared is true or false, and belongs to file"),
    ("{ file = 'A', shared = 'yes' }", "shared is true or false, and belongs to file"),
]
JOBS = [
    ("", "export", "export is missing: write [jobs.NAME.export] with connection = …"),
    ("export = 'crm'", "export", 'export = "crm": it is a table: write [jobs.NAME.export]'),
    ("export = {}", "export.connection", "connection is missing: name the connection to export to, in quotes"),
    ("export.connection = 'cmr'", "export.connection", 'connection not found; did you mean "crm"?'),
    (
        "export.connection = 'warehouse'",
        "export.connection",
        "is of type duckdb, and rows cannot be written to it: use",
    ),
    ("export.connection = 'crm'", "export.object", 'object is missing: write object = "Contact"'),
    (
        "export = { connection = 'files', object = 'x' }",
        "export.object",
        '"object" is an unknown key: the keys here are file',
    ),
    ("export = { connection = 'files', file = 'a.txt' }", "export.file", "end the name in .csv, .jsonl or .parquet"),
    ("export = { connection = 'files', file = '../a.csv' }", "export.file", "write a file name only"),
    (
        "export = { connection = 'files', file = '{jobs}.csv' }",
        "export.file",
        "only {job}, {scheduled_time} and {date}",
    ),
]
EXPORTS = [
    ("mode = 'insert'", "mode", 'mode = "insert": use "append", "truncate" or "update"'),
    ("bulk_api = '3'", "bulk_api", 'bulk_api = "3": use "1" or "2"'),
    ("bulk_api = 1", "bulk_api", 'bulk_api = 1: use "1" or "2"'),
    ("bulk_api = '2'\nconcurrency_mode = 'serial'", "concurrency_mode", 'Bulk API 2.0 has none, use bulk_api = "1"'),
    ("bulk_api = '2'\napi_version = '40.0'", "api_version", 'api_version = "40.0": Bulk API 2.0 needs 41.0 or newer'),
    ("key = 'Ext__c'", "key", 'key belongs to mode = "update": set that, or remove key'),
    ("upsert = true", "upsert", 'upsert belongs to mode = "update": set that, or remove upsert'),
    ("mode = 'update'\nupsert = true", "key", 'key is missing: mode = "update" needs it'),
    ("mode = 'update'", "key", 'key is missing: mode = "update" needs it'),
    ("mode = 'update'\nkey = 'Id'\nupsert = true", "key", "upsert goes by an external id"),
    ("hard_delete = true", "hard_delete", 'hard_delete belongs to mode = "truncate": set that, or remove hard_delete'),
    ("allow_empty = true", "allow_empty", 'allow_empty belongs to mode = "truncate"'),
    ("naive_timezone = 'Europe/Atlantis'", "naive_timezone", 'write an IANA time zone such as "UTC"'),
    ("naive_timezone = '/etc/passwd'", "naive_timezone", 'write an IANA time zone such as "UTC"'),
    ("batch_size = 10001", "batch_size", "batch_size = 10001: use at most 10000"),
    ("batch_size = 0", "batch_size", "batch_size = 0: use at least 1"),
    ("api_version = '30.0'", "api_version", 'Salesforce has switched off everything below 31.0: use "62.0"'),
    ("api_version = 62.0", "api_version", 'write the version in quotes, such as "62.0"'),
    ("api_version = '62'", "api_version", 'write the version in quotes, such as "62.0"'),
    ("concurency_mode = 'serial'", "concurency_mode", 'did you mean "concurrency_mode"?'),
]
SCHEDULES = [
    ("cron = '61 * * * *'", "cron", 'cron = "61 * * * *": minute: '),
    ("cron = '* * * *'", "cron", "4 fields instead of 5"),
    ("cron = 5", "cron", "cron = 5: write text in quotes"),
    ("timezone = 'Americas/New_York'", "timezone", "did you mean America/New_York?"),
    ("delay = '366d'", "delay", "delay = 31622400: "),
    ("delay = 'soon'", "delay", 'delay = "soon": a duration is whole seconds'),
    ("day_match = 'xor'", "day_match", 'use "or", "more-often" or "and"'),
    ("gap = 'later'", "gap", 'use "after" or "skip"'),
    ("timeout = 0", "timeout", "timeout = 0: use at least 1s"),
    ("max_rejected = '101%'", "max_rejected", 'write a number of rows, or a share of them in quotes, such as "5%"'),
    ("max_rejected = -1", "max_rejected", "write a number of rows"),
    ("max_rejected = true", "max_rejected", "write a number of rows"),
    ("name = 'x'", "name", "a job's name stands in the header"),
    ("query_file = 'a.sql'", "query_file", "query and query_file exclude each other: remove one"),
    ('description = "a\\u0000"', "description", "description holds a NUL character: remove it"),
    ("mapping = {}", "mapping.columns", "name at least one column, or set all_columns = true"),
    ("mapping.columns = [{ column = 'a' }]", "mapping.columns[0].source", "a column has either source or string"),
    (
        "mapping.columns = [{ column = 'a', string = '$2', parameters = [{type = 'Timestamp'}] }]",
        "mapping.columns[0].string",
        "$2 has no parameter: there are 1",
    ),
    (
        "mapping.columns = [{ column = 'a', source = 'a' }, { column = 'a', source = 'b' }]",
        "mapping.columns",
        '"a" goes out twice',
    ),
    (
        "mapping.columns = [{ column = 'a', string = '$1', parameters = [{type = 'SegmentName'}] }]",
        "mapping.columns[0].parameters[0]",
        "has no value: set name under [jobs.contacts.segment]",
    ),
]


@pytest.mark.parametrize(("text", "expected"), TOP + CONNECTIONS)
def test_a_fault_names_its_line_its_key_and_the_fix(text: str, expected: str) -> None:
    assert expected in only_fault(text)


@pytest.mark.parametrize(("url", "expected"), LOGIN)
def test_an_address_that_no_login_may_go_to(url: str, expected: str) -> None:
    fault = only_fault(HEAD.replace("https://yourorg.my.salesforce.com", url))
    assert fault.startswith("5: connections.crm.login_url: login_url = ")
    assert expected in fault
    assert "hunter2pw" not in fault


@pytest.mark.parametrize(("secret", "expected"), SECRETS)
def test_a_secret_that_is_none_is_a_fault_that_shows_no_value(secret: str, expected: str) -> None:
    fault = only_fault(HEAD.replace('{ env = "CRM_SECRET" }', secret))
    assert fault.startswith("7: connections.crm.client_secret: client_secret: ")
    assert expected in fault
    assert "hunter2pw" not in fault
    assert "12345" not in fault


@pytest.mark.parametrize(("text", "key", "expected"), JOBS)
def test_an_export_that_cannot_be(text: str, key: str, expected: str) -> None:
    fault = only_fault(HEAD + JOB + text)
    assert f"jobs.contacts.{key}: " in fault
    assert expected in fault


@pytest.mark.parametrize(("text", "key", "expected"), EXPORTS)
def test_a_faulty_export_option(text: str, key: str, expected: str) -> None:
    fault = only_fault(HEAD + JOB + EXPORT + text)
    assert f": jobs.contacts.export.{key}: " in fault
    assert expected in fault


@pytest.mark.parametrize(("text", "key", "expected"), SCHEDULES)
def test_a_faulty_key_of_a_job(text: str, key: str, expected: str) -> None:
    fault = only_fault(HEAD + JOB + text + "\n" + EXPORT)
    assert f"14: jobs.contacts.{key}: " in fault
    assert expected in fault


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = \n", "1: not valid TOML: Invalid value (column 5): text stands in quotes"),
        ("a = 1\na = 2\n", "2: not valid TOML: Cannot overwrite a value (column 6): the key is there twice"),
        ("a = 1\n\n[b", "3: not valid TOML: "),
        ("a = 'x", "1: not valid TOML: "),
        ("[a]\nb = [1,\n", "2: not valid TOML: "),
        ("a = " + "[" * 100_000, "1: brackets are nested more than 64 deep: "),
        ("a = " + "1" * 5_000, " not valid TOML: a number is too long"),
    ],
)
def test_text_that_is_no_toml_names_line_and_column(text: str, expected: str) -> None:
    assert only_fault(text).startswith(expected)


def test_one_broken_job_does_not_hide_the_faults_of_the_others() -> None:
    text = "[jobs.a]\n[jobs.b]\nsource = 'warehouse'\nquery = ''\nexport = 1\n[jobs.c]\nnonsense = 1\n"
    found = faults(HEAD + JOB + EXPORT + text)
    for name, count in (("a", 3), ("b", 2), ("c", 4), ("contacts", 0)):
        assert sum(f"jobs.{name}." in line for line in found) == count, found


def test_a_job_on_a_faulty_connection_is_checked_all_the_same_but_not_blamed_for_it() -> None:
    text = HEAD.replace('client_id = "3MVG"\n', "") + JOB + EXPORT.replace("Contact", "Con tact")
    found = faults(text)
    assert [line.split(": ")[1] for line in found] == ["connections.crm.client_id", "jobs.contacts.export.object"]


def test_a_job_on_a_connection_of_unknown_type_is_not_blamed_for_it() -> None:
    assert "connections.crm.type" in only_fault(HEAD.replace('"salesforce"', '"salesfroce"') + JOB + EXPORT)


def test_a_faulty_default_is_told_once_and_not_in_every_job() -> None:
    text = "[defaults]\ntimezone = 'X/Y'\ngap = 'x'\n[daemon]\ntimezone = 'Z'\n" + HEAD + JOB + EXPORT
    assert len(faults(text)) == 3


def test_a_bad_cron_and_a_bad_zone_are_both_told() -> None:
    found = faults(HEAD + JOB + "cron = 'x'\ntimezone = 'y'\ntimeout = 'z'\n" + EXPORT)
    assert [line.split(": ")[1] for line in found] == [
        f"jobs.contacts.{key}" for key in ("cron", "timezone", "timeout")
    ]


def test_a_delay_that_is_right_is_no_trouble_where_other_keys_are_wrong() -> None:
    text = JOB + "delay = '10m'\ncron = 'x'\ntimeout = 'z'\n" + EXPORT
    assert [line.split(": ")[1] for line in faults(HEAD + text)] == ["jobs.contacts.cron", "jobs.contacts.timeout"]


@pytest.mark.parametrize("file", ["'gone.sql'", "5", "''", "'~/a.sql'"])
def test_a_query_file_that_cannot_be_is_one_fault(file: str) -> None:
    fault = only_fault(HEAD + JOB.replace('query = "select 1"', f"query_file = {file}") + EXPORT)
    assert fault.startswith("13: jobs.contacts.query_file: query_file = ")


def test_an_empty_query_file_is_a_fault() -> None:
    text = HEAD + JOB.replace('query = "select 1"', "query_file = 'a.sql'") + EXPORT
    with pytest.raises(ConfigError, match="query_file is empty: write the SQL"):
        parse(text, query_files={"a.sql": " \n"})


@pytest.mark.parametrize("name", ["..", "-a", "a b", "ä", "", "a" * 65, "a/b"])
def test_a_job_needs_a_name_that_fits_into_a_path_and_a_command(name: str) -> None:
    text = HEAD + (JOB + EXPORT).replace("jobs.contacts", f'jobs."{name}"')
    assert "is no name for a job" in only_fault(text)


def test_values_of_unknown_keys_are_never_shown() -> None:
    text = (
        HEAD
        + "client_secert = 'hunter2pw'\npassword = 'hunter2pw'\n[connections.x]\ntype = 'duckdb'\ntoken='hunter2pw'"
    )
    found = faults(text)
    assert len(found) == 3
    assert "hunter2pw" not in "\n".join(found)


def test_faults_can_be_told_one_by_one() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("[jobs.a]\n", name="/etc/x.toml")
    fault = next(each for each in caught.value.faults if each.path == "jobs.a.source")
    assert (fault.line, fault.message) == (1, 'source is missing: write source = "warehouse"')
    assert "/etc/x.toml:1: jobs.a.source: source is missing" in str(caught.value)


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ("{ region = 2026-01-01 }", "write a date as text, and cast it"),
        ("{ region = [1] }", "region is no text, true, false"),
        ("5", "jobs.x.params"),
        ('{ "a b" = 1, region = 1 }', '"a b" is no name for a parameter'),
        ("{ scheduled_time = 1, region = 1 }", "scheduled_time is the slot's own time: choose another name"),
        ("{ region = nan }", "region is no text, true, false or finite number"),
        ("{ regoin = 1 }", "jobs.x.params.regoin: the query has no :regoin: remove it, or use it there"),
    ],
)
def test_parameters_that_cannot_be_bound_or_that_nothing_asks_for_are_faults(params: str, says: str) -> None:
    text = f"""
[connections.w]
type = "duckdb"
[connections.f]
type = "file"
directory = "out"
[jobs.x]
source = "w"
query = "select :region"
params = {params}
export = {{ connection = "f" }}
"""
    with pytest.raises(ConfigError) as refused:
        parse(text)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgres://u@h/db?sslpassword=hush-hush",
        "postgres://u:hush-hush@h/db",
        "http://h/db?a=b&access_token=hush-hush&c=d",
        "host=h password = hush-hush dbname=d",
        "jdbc://h;api_key=hush-hush;x=1",
    ],
)
def test_a_secret_in_an_address_that_is_refused_is_not_shown(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(f'[storage]\nurl = "{url}"\n')
    assert "hush" not in str(caught.value)
    assert "***" in str(caught.value)
