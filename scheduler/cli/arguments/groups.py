"""How commands hang together: registered with an example each, and started without what they do not need."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

MOST = 2**63 - 1
"""The largest number that a database holds."""


class _Quick:
    """Takes a parameter's value as it is where there is nothing to convert; else typer's own conversion does it.

    Typer (0.29) converts each value, even one that was not given, by pydantic, whose import takes longer than all that
    `explain` does. Where a later typer has no such place to step in, commands are slower, and that is all.
    """

    def __init__(self, parameter: Any) -> None:  # noqa: ANN401 - typer's parameters have no public type
        self._parameter = parameter

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:  # noqa: ANN401 - whatever the parameter takes
        parameter = self._parameter
        multiple = parameter.multiple or parameter.nargs != 1
        annotation, info = parameter.type_descriptor.annotation, parameter.type_descriptor.parameter_info
        if value is None and not multiple:
            return None
        if not multiple and annotation in (str, bool, int) and type(value) is annotation:
            return value
        if not multiple and annotation is int and isinstance(value, str):
            return _number(value, info, param, ctx)
        if not multiple and annotation is Path and isinstance(value, str) and not _is_checked(info):
            return Path(value)
        parameter._runtime_param = None  # noqa: SLF001 - the place to step in, put back
        return parameter.get_runtime_param().coerce(value, param=param, ctx=ctx)


def _number(text: str, info: Any, param: Any, ctx: Any) -> int:  # noqa: ANN401 - typer's description of a parameter
    """Read a whole number between the parameter's bounds; raises BadParameter, which names the text and the bounds."""
    least, most = info.min if info.min is not None else -MOST, info.max if info.max is not None else MOST
    if re.fullmatch(r"[+-]?[0-9]{1,40}", text) and least <= int(text) <= most:
        return int(text)
    raise typer.BadParameter(f"{text!r}: write a whole number from {least} to {most}", ctx=ctx, param=param)


def _is_checked(info: Any) -> bool:  # noqa: ANN401 - typer's description of a parameter
    """Whether typer is to look at the file that a path names."""
    return bool(info.exists or info.resolve_path or info.writable or info.allow_dash)


def _quicken(parameters: Sequence[Any]) -> None:
    for parameter in parameters:
        if getattr(parameter, "_runtime_param", parameter) is None and hasattr(parameter, "type_descriptor"):
            parameter._runtime_param = _Quick(parameter)  # noqa: SLF001 - see _Quick


class Command(TyperCommand):
    """A command that converts only what needs to be."""

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - typer's context has no public type
        """Return the parameters, and the one that asks for help."""
        parameters = super().get_params(ctx)
        _quicken(parameters)
        return parameters


class Group(TyperGroup):
    """A group that converts only what needs to be."""

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - typer's context has no public type
        """Return the parameters, and the one that asks for help."""
        parameters = super().get_params(ctx)
        _quicken(parameters)
        return parameters


class ListGroup(Group):
    """A group whose `list` command is meant where no other is named: `runs NAME` is `runs list NAME`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - typer's context has no public type
        """Put `list` in front of whatever names no subcommand and asks for no help."""
        if ctx.resilient_parsing and not args:
            return super().parse_args(ctx, args)  # a shell asks what may come next: see below
        takes_names = any(each.param_type_name == "argument" for each in self.commands["list"].params)
        is_other = bool(args) and (args[0] in self.commands or args[0] in ("--help", "-h"))
        if not is_other and (takes_names or not args or args[0].startswith("-")):
            args = ["list", *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:  # noqa: ANN401 - typer's context has no public type
        """Offer the commands, and what `list` takes, which may be typed without its name."""
        offered = list(super().shell_complete(ctx, incomplete))
        command = self.commands["list"]
        inner = command.make_context("list", [], parent=ctx, resilient_parsing=True)
        offered += command.shell_complete(inner, incomplete)
        if not incomplete.startswith("-"):
            for parameter in command.params:
                offered += (
                    parameter.shell_complete(inner, incomplete) if parameter.param_type_name == "argument" else []
                )
        return offered


def add_command(app: typer.Typer, name: str, function: Callable[..., Any], *, example: str) -> None:
    """Add a command with an example of its use, which its help ends with."""
    app.command(name, cls=Command, epilog=f"Example: {example}")(function)


def add_group(app: typer.Typer, name: str, *, help_: str, example: str, lists: bool = False) -> typer.Typer:
    """Add a group of commands and return it; with ``lists`` its `list` is meant where no command is named."""
    group = typer.Typer(cls=ListGroup if lists else Group, help=help_, epilog=f"Example: {example}")
    app.add_typer(group, name=name, no_args_is_help=not lists)
    return group
