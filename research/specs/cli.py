"""`lockstep spec`: check specs, explain one, write one as Python, compare two."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console, RenderableType

from lockstep.console import REFUSED
from lockstep.errors import ConfigError, LockstepError
from lockstep.files import replace_file
from lockstep.market.command_line import App, DataDir, OneSymbol, SourceName
from lockstep.strategy.families.rules import RulesConfig
from lockstep.strategy.family import load_strategy
from research.ledger.database import Database
from research.ledger.ledger import Ledger
from research.specs.check import check_spec, require_spec
from research.specs.differences import SpecDifference, compare_specs
from research.specs.explain import explain
from research.specs.export import export_python
from research.specs.rows import EMBEDDED, TrainingRows, training_rows
from research.specs.tables import fields_table, frequency_table, ids_table, meanings_table, signals_table

check_app, explain_app, export_app, diff_app = App(), App(), App(), App()

SpecFile = Annotated[Path, typer.Argument(metavar="FILE", help="YAML of a strategy with family: rules.")]
Start = Annotated[str | None, typer.Option(help="First session date to look at, YYYY-MM-DD.")]
End = Annotated[
    str | None, typer.Option(help="Last session date to look at; default: where the last third begins.")
]


@dataclass(frozen=True, kw_only=True)
class _Bars:
    """Which bars a command looks at."""

    symbol: str
    data_dir: Path | None
    source: str | None
    start: str | None
    end: str | None
    console: Console = field(default_factory=Console)

    def rows(self, *configs: RulesConfig) -> list[TrainingRows]:
        """Return the training rows of each spec."""
        if not self.symbol and self.data_dir is not None:
            raise ConfigError(f"--data-dir {self.data_dir}: name one of its symbols, such as --symbol ES")
        return training_rows(
            configs, self.symbol or EMBEDDED, data_dir=self.data_dir, source=self.source, start=self.start,
            end=self.end, ledger=Ledger(Database.open()), now=datetime.now(UTC),
        )  # fmt: skip

    def rows_if_any(self, *configs: RulesConfig) -> tuple[list[TrainingRows], str]:
        """Return the training rows; none and the reason where nobody asked for bars and none fit."""
        try:
            return self.rows(*configs), ""
        except LockstepError as error:
            if any((self.symbol, self.data_dir, self.source, self.start, self.end)):
                raise
            return [], str(error)

    def say(self, text: str = "") -> None:
        """Print text as it is."""
        self.console.print(text, soft_wrap=True, highlight=False, markup=False)

    def show(self, table: RenderableType) -> None:
        """Print a table below an empty line."""
        self.console.print()
        self.console.print(table)


def _load(path: Path) -> RulesConfig:
    return require_spec(load_strategy(path), str(path))


@check_app.command()
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="YAML of specs.")],
    symbol: OneSymbol = "",
    data_dir: DataDir = None,
    source: SourceName = None,
    start: Start = None,
    end: End = None,
) -> None:
    """Refuse what a spec cannot mean: conditions without effect, both sides at once, values that are missing.

    It looks at training bars only: those before the last third, or before what a search sealed. Without
    --symbol these are the bars of the NASDAQ Composite that come with Lockstep. Exits with 2 where a spec is
    refused, with a line for each reason.
    """
    bars = _Bars(symbol=symbol, data_dir=data_dir, source=source, start=start, end=end)
    # A list, so that every file is checked.
    if not all([_is_sound(path, bars) for path in files]):
        raise typer.Exit(REFUSED)


def _is_sound(path: Path, bars: _Bars) -> bool:
    """Check one file, and print what it reads or why it is refused."""
    try:
        config = _load(path)
        (rows,) = bars.rows(config)
        found = check_spec(config, rows)
        problems = [f"{path}: {each}" for each in found.problems]
    except LockstepError as error:
        text = " ".join(str(error).split())
        problems = [text if text.startswith(str(path)) else f"{path}: {text}"]
    for each in problems:
        print(f"error: {each}", file=sys.stderr)
    if not problems:
        bars.say(f"{path}: {config.name} is sound. {rows}")
        bars.show(ids_table(found.ids))
        bars.show(frequency_table(found.frequencies))
    return not problems


@explain_app.command("explain")
def explain_command(
    file: SpecFile,
    symbol: OneSymbol = "",
    data_dir: DataDir = None,
    source: SourceName = None,
    start: Start = None,
    end: End = None,
) -> None:
    """Say in sentences what a spec does, what its ids mean, and how often each condition holds.

    It looks at training bars only, see `lockstep spec check`.
    """
    bars = _Bars(symbol=symbol, data_dir=data_dir, source=source, start=start, end=end)
    config = _load(file)
    rows, reason = bars.rows_if_any(config)
    found = explain(config, rows[0] if rows else None)
    bars.say(found.text)
    bars.show(meanings_table(found))
    bars.say()
    if found.frequencies is None:
        bars.say(f"How often: not told, since {reason}")
    else:
        bars.say(f"How often: {found.frequencies.rows}.")
        bars.show(frequency_table(found.frequencies))


@export_app.command("export")
def export_command(
    file: SpecFile,
    python: Annotated[bool, typer.Option("--python", help="As a Python class, for people.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="File to write; default: print it.")] = None,
) -> None:
    """Write a spec as a readable Python class, which decides as the spec does and is never traded."""
    if not python:
        raise ConfigError("nothing to write: give --python, the one form there is")
    text = export_python(_load(file))
    if out is None:
        print(text, end="")
    else:
        replace_file(out, text, error=ConfigError)
        print(out)


@diff_app.command("diff")
def diff_command(
    first: Annotated[Path, typer.Argument(metavar="A", help="YAML of a spec.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="YAML of another one.")],
    symbol: OneSymbol = "",
    data_dir: DataDir = None,
    source: SourceName = None,
    start: Start = None,
    end: End = None,
) -> None:
    """Compare two specs: meaning, fields, conditions, and their signals on training bars.

    Two spellings of one meaning are one trial. It looks at training bars only, see `lockstep spec check`.
    """
    bars = _Bars(symbol=symbol, data_dir=data_dir, source=source, start=start, end=end)
    configs = (_load(first), _load(second))
    rows: list[TrainingRows] = []
    unlike = "they decide on bars of different timeframes"
    if configs[0].bars == configs[1].bars:
        rows, unlike = bars.rows_if_any(*configs)
    found = compare_specs(*configs, (rows[0], rows[1]) if rows else None, unlike)
    print_difference(bars, found, rows)


def print_difference(bars: _Bars, found: SpecDifference, rows: Sequence[TrainingRows]) -> None:
    """Print what two specs differ in."""
    bars.say(f"{'Same' if found.same_meaning else 'Different'} meaning: {found.hashes}.")
    if found.fields:
        bars.show(fields_table(found))
    for part, lines in found.conditions.items():
        bars.say(f"\n{part}")
        for mark, text in lines:
            bars.say(f"{mark} {text}")
    if found.signals is None:
        bars.say(f"\nSignals: not compared, since {found.unlike}")
    else:
        bars.say(f"\nSignals: {rows[0]}.")
        bars.show(signals_table(found.signals))
