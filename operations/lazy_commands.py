"""Groups of commands that load a command's code only when it is called.

A help page names forty commands; importing what they need would take seconds. So a group holds a line of text
for each command and a function that imports its app.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

Loader = Callable[[], typer.Typer]


@dataclass(frozen=True)
class CommandEntry:
    """A line of a help page and what is behind it.

    load     imports and returns the app; None for a group of `entries`
    context  imports what the app finds as its context object, for what it may not import itself
    script   the thin file in `scripts/` of the same app, without its ending
    """

    name: str
    help: str
    panel: str
    load: Loader | None = None
    context: Callable[[], Any] | None = None
    script: str = ""
    entries: list[CommandEntry] = field(default_factory=list)

    def command(self) -> Any:
        """Return the command itself; this imports its code."""
        if self.load is None:
            return LazyGroup(name=self.name, help=self.help, entries=self.entries, no_args_is_help=True)
        found = typer.main.get_command(self.load())
        found.name = self.name
        return found


def walk(
    entries: Sequence[CommandEntry], above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], CommandEntry]]:
    """Yield every entry with the words that name it, groups before what is in them."""
    for each in entries:
        yield (*above, each.name), each
        yield from walk(each.entries, (*above, each.name))


class LazyGroup(TyperGroup):
    """A group whose help page costs no import of its commands."""

    def __init__(self, *, entries: list[CommandEntry] | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.entries = {each.name: each for each in entries or ()}
        # What help pages, completion and the search for the nearest name read; it is never run.
        for each in self.entries.values():
            self.add_command(TyperCommand(each.name, help=each.help, rich_help_panel=each.panel))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the command that the first argument names, with its code loaded."""
        if args[0] not in self.entries and not ctx.resilient_parsing:
            for path, entry in walk(list(self.entries.values())):
                if entry.script == args[0].removesuffix(".py") != "":
                    ctx.fail(f"No such command '{args[0]}'. Did you mean '{' '.join(path)}'?")
        name, line, rest = super().resolve_command(ctx, args)
        if name is None or line is None or name not in self.entries:
            return name, line, rest
        entry = self.entries[name]
        if entry.context is not None:
            ctx.obj = entry.context()
        return name, entry.command(), rest


class Contents:
    """Collects the entries of a group, one decorated loader each."""

    def __init__(self) -> None:
        self.entries: list[CommandEntry] = []

    def add(
        self, name: str, help: str, *, panel: str, script: str = "", context: Callable[[], Any] | None = None
    ) -> Callable[[Loader], Loader]:
        """Register a command under `name`; the decorated function imports and returns its app."""

        def register(load: Loader) -> Loader:
            self.entries.append(
                CommandEntry(name=name, help=help, panel=panel, load=load, context=context, script=script)
            )
            return load

        return register

    def group(self, name: str, help: str, *, panel: str) -> Contents:
        """Register a group of commands and return its own contents."""
        inside = Contents()
        self.entries.append(CommandEntry(name=name, help=help, panel=panel, entries=inside.entries))
        return inside
