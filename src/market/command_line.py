"""What the commands on market data share: `--instruments`, and one way to name symbols."""

from __future__ import annotations

import functools
import inspect
import os
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

import typer
from typer.core import TyperCommand

from lockstep.desk import desk_folder, results_folder
from lockstep.errors import ConfigError, DataError
from lockstep.market.config import USER_FILE_VARIABLE, InstrumentBook, default_user_file, shipped_config
from lockstep.market.source import Source
from lockstep.market.timeframe import Timeframe

Function = TypeVar("Function", bound=Callable[..., Any])

ALL = "all"
SYMBOL_FLAGS = ("--symbol", "--symbols")


def _only_one(value: str) -> str:
    if "," in value or value == ALL:
        raise ConfigError(f"--symbol {value}: this command takes one symbol; run it once for each")
    return value


OneSymbol = Annotated[
    str,
    typer.Option(*SYMBOL_FLAGS, callback=_only_one, help="One symbol of instruments.yml, for example ES."),
]
Symbols = Annotated[str, typer.Option(*SYMBOL_FLAGS, help="ES, several as ES,NQ, or `all` with a file.")]

DataDir = Annotated[Path | None, typer.Option(help="Folder of the data files; default: embedded data.")]
Cluster = Annotated[str | None, typer.Option(help="Dask scheduler, tcp://host:8786; default: this machine.")]
SourceName = Annotated[str | None, typer.Option(help="Name of a source; default: by folder name.")]


def live_file() -> Path:
    """Return `live.yml` of the desk folder, else `configs/live.yml` of the working folder."""
    desk = desk_folder()
    return Path("configs/live.yml") if desk is None else desk.live


def monitoring_file() -> Path:
    """Return `monitoring.yml` beside the desk folder's live.yml, else that of `configs`."""
    desk = desk_folder()
    return Path("configs/monitoring.yml") if desk is None else desk.live.with_name("monitoring.yml")


def strategy_file() -> Path:
    """Return the strategy of the desk folder, elsewhere the baseline that comes with Lockstep."""
    desk = desk_folder()
    return shipped_config("strategies/ibs_baseline.yaml") if desk is None else desk.strategy


Results = Annotated[
    Path,
    typer.Option(
        "--out",
        help="Folder of run folders and pages.",
        default_factory=results_folder,
        show_default="results",
    ),
]
LiveFile = Annotated[
    Path,
    typer.Option(
        "--config",
        envvar="LOCKSTEP_CONFIG",
        help="The engine's configuration; default: the desk folder's live.yml.",
        default_factory=live_file,
        show_default="configs/live.yml",
    ),
]


Instruments = Annotated[
    str | None,
    typer.Option(
        "--instruments",
        metavar="FILE",
        help=f"Your instruments, on top of the shipped ones; default: ${USER_FILE_VARIABLE}, or those of the "
        "desk folder, or ~/.config/lockstep/instruments.yml if it exists.",
    ),
]


class App(typer.Typer):
    """A command line whose commands take `--instruments FILE`: the user's file, for this command."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"add_completion": False, **settings})

    def command(self, *arguments: Any, **settings: Any) -> Callable[[Function], Function]:
        """Register a command as Typer does, with `--instruments` after its own options."""
        register = super().command(*arguments, **settings)

        def registered(function: Function) -> Function:
            register(_with_instruments(function))
            return function

        return registered


def renamed(spellings: Mapping[str, str]) -> type[TyperCommand]:
    """Return a class of commands that still take old spellings of options, with a line of warning for each.

    spellings   new spelling by old one, such as {"--strategy-path": "--strategy"}
    """

    class Command(TyperCommand):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            return super().parse_args(ctx, list(_respelled(args, spellings, quiet=ctx.resilient_parsing)))

    return Command


def _respelled(args: Sequence[str], spellings: Mapping[str, str], *, quiet: bool) -> Iterator[str]:
    options = True
    for word in args:
        options &= word != "--"
        old, equals, value = word.partition("=")
        if not options or old not in spellings:
            yield word
            continue
        if not quiet:
            print(f"warning: {old} is now {spellings[old]}; the old name will go", file=sys.stderr)
        yield f"{spellings[old]}{equals}{value}"


def _with_instruments(function: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(function, eval_str=True)
    own = inspect.Parameter(
        "instruments", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Instruments
    )

    @functools.wraps(function)
    def command(*, instruments: str | None = None, **given: Any) -> Any:
        with reading_instruments(instruments):
            return function(**given)

    parameters = (*signature.parameters.values(), own)
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return command


def target_file(file: Path | None) -> Path:
    """Return the user's instruments file that is to be written: `file`, or the one that is usually read."""
    named = os.environ.get(USER_FILE_VARIABLE)
    return file or (Path(named).expanduser() if named else default_user_file())


@contextmanager
def reading_instruments(file: str | None) -> Iterator[None]:
    """Let all that is loaded within, by workers too, read the user's instruments from `file`.

    file   None: as elsewhere; empty: from none
    """
    if file is None:
        yield
        return
    if file and not Path(file).expanduser().is_file():
        raise ConfigError(f"--instruments {file}: no such file; correct the path")
    before = os.environ.get(USER_FILE_VARIABLE)
    os.environ[USER_FILE_VARIABLE] = str(Path(file).expanduser().resolve()) if file else ""
    try:
        yield
    finally:
        del os.environ[USER_FILE_VARIABLE]
        if before is not None:
            os.environ[USER_FILE_VARIABLE] = before


class Chosen(NamedTuple):
    """The symbols that a command works on, and in a sentence each what `all` left out and why."""

    symbols: tuple[str, ...]
    skipped: tuple[str, ...] = ()


def named_symbols(text: str) -> tuple[str, ...]:
    """Return the symbols of `ES` or `ES,NQ`, each once; ConfigError where none is named.

    >>> named_symbols("ES, NQ")
    ('ES', 'NQ')
    """
    named = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not named:
        raise ConfigError("no symbol: give --symbol ES, --symbol ES,NQ or --symbol all")
    return named


def chosen_symbols(
    text: str,
    book: InstrumentBook,
    folder: Path | None,
    *,
    timeframe: Timeframe | None = None,
    source: str | None = None,
) -> Chosen:
    """Return the symbols of `ES`, `ES,NQ`, or `all` that have bars in a folder.

    folder      None: the bars that come with Lockstep
    timeframe, source   as in `InstrumentBook.source`

    ConfigError where none is named or found, or the folder is none.
    """
    if text != ALL:
        return Chosen(named_symbols(text))
    if folder is not None and not folder.is_dir():
        raise DataError(f"data folder {folder}: not a folder; check the path")
    sources = [book.source_named(source)] if source else [
        each for each in book.sources.values() if each.matches(folder)
    ]  # fmt: skip
    found, skipped = [], []
    for symbol in book.instruments:
        if any(each.holds(symbol) and _has_file(each, symbol, folder) for each in sources):
            try:
                book.source(symbol, folder, timeframe=timeframe, name=source)
                found.append(symbol)
            except (ConfigError, DataError) as error:
                skipped.append(f"{symbol} is skipped: {error}")
    skipped.extend(_not_declared(folder, sources, book.instruments))
    if not found:
        reasons = f"; {'; '.join(skipped)}" if skipped else ""
        place = folder or "the embedded data"
        raise ConfigError(f"--symbol all: no file of a known symbol that can be used in {place}{reasons}")
    return Chosen(tuple(found), tuple(skipped))


def _has_file(source: Source, symbol: str, folder: Path | None) -> bool:
    try:
        return source.find(symbol, folder) is not None
    except DataError:  # There are several.
        return True


def _not_declared(folder: Path | None, sources: list[Source], known: Collection[str]) -> Iterator[str]:
    """Yield a sentence for each data file in a folder that belongs to no declared symbol."""
    endings = sorted({end for each in sources for end in each.suffixes}, key=len, reverse=True)
    symbols = {symbol.upper(): symbol for symbol in known}
    for path in sorted(folder.iterdir()) if folder is not None else ():
        end = next((each for each in endings if path.name.lower().endswith(each)), None)
        if end is None or ".rejected." in path.name:
            continue
        stem = path.name[: -len(end)]
        named = [(each, found) for each in sources if (found := _symbol_in(stem, each))]
        if not named:
            patterns = ", ".join(dict.fromkeys(each.file for each in sources)) or "none"
            reason = f"the sources of this folder read files named {patterns}"
        elif not any(found.upper() in symbols for _, found in named):
            reason = f"{named[0][1]} is not declared; add it under instruments in your own file"
        elif not any(each.holds(symbols.get(found.upper(), found)) for each, found in named):
            source, found = named[0]
            reason = f"source {source.name} holds {', '.join(source.symbols)}, not {found}"
        else:
            continue
        yield f"{path.name} is skipped: {reason}"


def _symbol_in(stem: str, source: Source) -> str | None:
    """Return the symbol of a file by the name that the source gives its files."""
    before, _, after = source.file.partition("{symbol}")
    match = re.fullmatch(f"{re.escape(before)}(.+){re.escape(after)}", stem, re.IGNORECASE)
    return match[1] if match else None
