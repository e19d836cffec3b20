"""`notify test`: whether notices arrive."""

import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from scheduler.cli.arguments import options
from scheduler.cli.arguments.groups import add_command, add_group
from scheduler.cli.arguments.lazy_module import Late
from scheduler.cli.printing.output import put, put_json, say
from scheduler.errors.operation_error import failed, usage
from scheduler.notifications.messages import trial

if TYPE_CHECKING:
    from scheduler.cli.state import session
    from scheduler.notifications import apprise_sender, dispatcher
    from scheduler.notifications.settings import NotifySettings
else:
    dispatcher = Late("scheduler.notifications.dispatcher")
    apprise_sender = Late("scheduler.notifications.apprise_sender")
    session = Late("scheduler.cli.state.session")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    example = "schedctl notify test"
    group = add_group(app, "notify", help_="Try whether notices arrive.", example=example)
    add_command(group, "test", send_test, example=example)


def send_test(
    *,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="ADDRESS", help="Only a mail to this recipient, through smtp of [notify]."),
    ] = None,
    as_json: options.Json = False,
    config: options.Config = None,
) -> int:
    """Send a test notice to each address of [notify].

    It goes out at once, from here, whether a daemon is alive or not. The exit code is 1 if an address refuses it.
    """
    settings = session.read_config(config).notify
    known = dispatcher.addresses(settings) if to is None else [_recipient(to, settings)]
    if not known and settings.smtp is not None:
        raise failed("[notify] has no urls, only smtp for recipients of jobs: try it with --to ADDRESS")
    if not known:
        raise failed('there is nobody to notify: add urls = ["mailtos://…"] to [notify] in the config file')
    notice = trial(socket.gethostname(), datetime.now(UTC))
    results = []
    for address in known:
        sent = apprise_sender.Sent(arrived=False, reason=address.fault)
        if address.url is not None:
            sent = dispatcher.send_here(address.url, notice)
        results.append((address.label, sent))
        if not as_json:
            put(f"{'ok   ' if sent.arrived else 'FAULT'}  {address.label}: {'sent' if sent.arrived else 'not sent'}")
    if as_json:
        told = [{"address": label, "sent": sent.arrived, "reason": sent.reason or None} for label, sent in results]
        put_json({"addresses": told})
    for label, sent in results:
        if not sent.arrived:
            say(f"schedctl: {label}: {sent.reason}")
    return 0 if all(sent.arrived for _, sent in results) else 1


def _recipient(address: str, settings: "NotifySettings") -> "dispatcher.Address":
    from scheduler.notifications.recipients import check_address  # noqa: PLC0415 - the models of a config, for this one command

    try:
        return dispatcher.recipient(check_address(address), dispatcher.relay(settings))
    except ValueError as error:
        raise usage(f"--to {address!r}: {error}") from error
