"""`login`: a person agrees in a browser, and a connection may log in from then on by itself."""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from scheduler.cli.arguments import options
from scheduler.cli.arguments.groups import add_command
from scheduler.cli.arguments.lazy_module import Late
from scheduler.cli.printing.output import put, put_json, say, warn
from scheduler.errors.operation_error import OperationError, failed, not_found, usage

if TYPE_CHECKING:
    from exporter.settings.connection import SalesforceConnection
    from exporter.targets.salesforce.auth import web_flow
    from exporter.targets.salesforce.auth.web_flow import WebLogin
    from scheduler.cli.connections import oauth_callback
    from scheduler.cli.state import session
    from scheduler.config import connections
    from scheduler.config.build import Config
    from scheduler.daemon import connection_watch
    from scheduler.environment import actors
else:
    web_flow = Late("exporter.targets.salesforce.auth.web_flow")
    actors = Late("scheduler.environment.actors")
    oauth_callback = Late("scheduler.cli.connections.oauth_callback")
    connections = Late("scheduler.config.connections")
    session = Late("scheduler.cli.state.session")
    connection_watch = Late("scheduler.daemon.connection_watch")


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "login", login, example="schedctl login crm")


def login(
    *,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help='The connection\'s name; its auth is "oauth".', autocompletion=options.connection_names
        ),
    ],
    port: Annotated[
        int,
        typer.Option(
            "--port",
            metavar="N",
            help="Port of the callback URL http://localhost:N/callback, which the app must list.",
            min=1,
            max=65535,
        ),
    ] = 1717,
    no_browser: Annotated[
        bool,
        typer.Option(
            "--no-browser",
            help="Use a browser on another machine: paste the address that it ends at, or the code.",
        ),
    ] = False,
    wait: Annotated[
        int, typer.Option("--wait", metavar="SECONDS", help="How long to wait for the browser.", min=1, max=3600)
    ] = 300,
    as_json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Log in to Salesforce in a browser, for a connection with `auth = "oauth"`.

    The command prints the address to open and waits until the browser returns. It stores the refresh token in a file
    that only its owner can read, checks it, and says who logged in. Jobs that failures of this connection disabled are
    enabled again. Run it as the user that the daemon runs as.
    """
    loaded = session.read_config(config)
    connection = _connection(loaded, name)
    show = say if as_json else _put_now
    with ExitStack() as stack:
        if no_browser:
            begun = web_flow.begin(connection, oauth_callback.callback_url(port))
            answer = _paste(begun, show)
        else:
            listening = stack.enter_context(oauth_callback.Callback(port))
            begun = web_flow.begin(connection, listening.url)
            listening.expect(begun.state)
            say("Open this address in a browser on this machine, and log in there:")
            show(begun.url)
            answer = listening.wait(wait) or ""
    if not answer:
        raise failed(_nobody_came(connection, begun, wait, pasted=no_browser))
    found = web_flow.finish(connection, begun, web_flow.read_code(begun, answer))
    enabled = _enable_jobs(session.find_config(config), loaded, name)
    if as_json:
        values = {"username": found.username, "instance_url": found.instance_url, "token_file": connection.token_file}
        put_json({"login": {"connection": name, **values, "enabled": enabled}})
    else:
        put(f"{name}: logged in as {found.username or 'a user whose name is hidden'}, at {found.instance_url}")
        say(f"the refresh token is in {connection.token_file}")
        if enabled:
            say(f"enabled again, since failures had disabled them: {', '.join(enabled)}")


def _enable_jobs(path: Path, loaded: "Config", name: str) -> list[str]:
    """Let the jobs that failures of this connection disabled fire again. Who logged in has done so in any case."""
    from storage.engine.errors import StorageError  # noqa: PLC0415 - SQLAlchemy, which completing a command line does without

    try:
        with session.opened_if_there(path, loaded.storage.url, loaded.storage.location) as database:
            if database is None:
                return []
            return connection_watch.count_login(
                database, name, datetime.now(UTC), by=actors.this_actor("schedctl login")
            )
    except (StorageError, OperationError) as error:
        warn(f"jobs that failures disabled stay so: {error.message}; schedctl enable NAME enables each")
        return []


def _connection(loaded: "Config", name: str) -> "SalesforceConnection":
    settings = loaded.connections.get(name)
    if settings is None:
        known = ", ".join(sorted(loaded.connections)) or "none"
        raise not_found(f"there is no connection {name!r} (known: {known})")
    auth = getattr(settings, "auth", None)
    if auth != "oauth":
        what = f'auth = "{auth}"' if auth is not None else f"type {settings.type}"
        raise usage(f'{name} has {what}: only auth = "oauth" of a Salesforce connection logs in by a browser')
    return cast("SalesforceConnection", connections.make_ready(loaded, name))


def _paste(begun: "WebLogin", show: Callable[[str], None]) -> str:
    say("Open this address in any browser, and log in there:")
    show(begun.url)
    say(f"The browser then ends at a page that it cannot show, {begun.redirect_uri}?code=… Paste its address here:")
    return sys.stdin.readline().strip()


def _put_now(text: str) -> None:
    put(text)
    sys.stdout.flush()  # whoever started it waits for this line


def _nobody_came(connection: "SalesforceConnection", begun: "WebLogin", wait: int, *, pasted: bool) -> str:
    if pasted:
        return "nothing was pasted"
    return (
        f"no browser came back within {wait} s; if it shows an error there, check client_id ({connection.client_id}), "
        f"and that {begun.redirect_uri} is one of the app's callback URLs; if it runs on another machine, "
        "use --no-browser"
    )
