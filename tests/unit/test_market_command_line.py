"""`--instruments` on every command that loads instruments, and one way to name symbols."""

from __future__ import annotations

import importlib
import inspect
import os
import re
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from lockstep.errors import ConfigError, DataError
from lockstep.market.command_line import App, OneSymbol, Symbols, chosen_symbols, named_symbols
from lockstep.market.config import load_instruments
from lockstep.market.timeframe import DAILY, Timeframe
from support.markets import BOOK, DAILY_ROWS, HOURLY, write_daily

ROOT = Path(__file__).resolve().parents[2]
# They send, sign, copy, export or compare what is there; no instrument is looked up.
WITHOUT = {"alert", "backup", "compare_trades", "export", "fetch_model", "model_keys", "status"}
KO = "instruments: {KO: {session: NYSE, multiplier: 1, tick_size: 0.01, commission: 0}}\n"


def commands() -> dict[str, Any]:
    found = {
        path.stem: importlib.import_module(f"scripts.{path.stem}").app
        for path in (ROOT / "scripts").glob("*.py")
        if path.stem != "__init__"
    }
    return found | {"backtest_runner": importlib.import_module("research.backtest_runner").app}


def parameters(app: typer.Typer) -> dict[str, list[inspect.Parameter]]:
    """Return the parameters of every command of an app."""
    return {
        str(each.name or each.callback.__name__): list(
            inspect.signature(each.callback, eval_str=True).parameters.values()
        )
        for each in app.registered_commands
        if each.callback is not None
    }


def flags(parameter: inspect.Parameter) -> set[str]:
    """Return how an option is written, for an argument nothing."""
    info = next(each for each in parameter.annotation.__metadata__)
    if not isinstance(info, typer.models.OptionInfo):
        return set()
    written = {each for each in (info.default, *(info.param_decls or ())) if isinstance(each, str)}
    return written or {f"--{parameter.name.replace('_', '-')}"}


def test_every_command_takes_the_users_instruments() -> None:
    for script, app in commands().items():
        assert app.registered_commands, script
        for command, found in parameters(app).items():
            takes = any(each.name == "instruments" for each in found)
            assert takes == (script not in WITHOUT), f"{script} {command}"


def test_symbols_are_named_in_one_way() -> None:
    seen = 0
    for script, app in commands().items():
        for command, found in parameters(app).items():
            for each in found:
                if each.name in ("symbol", "symbols") and (written := flags(each)):
                    assert written == {"--symbol", "--symbols"}, f"{script} {command}"
                    seen += 1
    assert seen >= 9


app = App()


@app.command()
def show(symbol: OneSymbol, note: str = "") -> None:
    """Print the multiplier of a symbol."""
    print(note, load_instruments().instrument(symbol).multiplier, os.environ["LOCKSTEP_INSTRUMENTS"])


@pytest.mark.parametrize("flag", ["--symbol", "--symbols"])
def test_the_file_holds_for_this_command_and_what_it_starts(tmp_path: Path, flag: str) -> None:
    mine = tmp_path / "mine.yml"
    mine.write_text(KO)
    done = CliRunner().invoke(app, [flag, "KO", "--note", "here", "--instruments", str(mine)])
    assert done.output.split() == ["here", "1.0", str(mine)]
    assert os.environ["LOCKSTEP_INSTRUMENTS"] == ""
    after = CliRunner().invoke(app, [flag, "KO"])
    assert isinstance(after.exception, ConfigError)
    assert "symbol 'KO': not in instruments.yml" in str(after.exception)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--symbol", "ES", "--instruments", "nowhere.yml"), "--instruments nowhere.yml: no such file"),
        (("--symbol", "ES,NQ"), "--symbol ES,NQ: this command takes one symbol"),
        (("--symbol", "all"), "takes one symbol"),
    ],
)
def test_refusals(arguments: tuple[str, ...], message: str) -> None:
    refused = CliRunner().invoke(app, list(arguments)).exception
    assert isinstance(refused, ConfigError)
    assert message in str(refused)


def test_symbols_of_a_text() -> None:
    assert named_symbols("ES") == ("ES",)
    assert named_symbols(" ES, NQ,,ES") == ("ES", "NQ")
    with pytest.raises(ConfigError, match="no symbol: give --symbol ES, --symbol ES,NQ or --symbol all"):
        named_symbols(" ,")
    assert chosen_symbols("ES,NQ", BOOK, None).symbols == ("ES", "NQ")
    assert chosen_symbols("all", BOOK, None, timeframe=DAILY).symbols == ("SPX", "COMP")


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).write_text("x")
    return folder


def test_all_says_of_each_file_that_is_left_out_why(tmp_path: Path) -> None:
    folder = write_daily(tmp_path, *DAILY_ROWS).parent
    touch(folder, "NQ_bt.csv", "NQ_bt.parquet", "FDAX_bt.csv", "notes.csv", "ES_bt.csv.rejected.csv", "a.txt")
    chosen = chosen_symbols("all", BOOK, folder, timeframe=DAILY)
    assert chosen.symbols == ("ES",)
    patterns = (
        r"NQ is skipped: .*NQ_bt\.csv, NQ_bt\.parquet: one file per symbol and source",
        r"FDAX_bt\.csv is skipped: FDAX is not declared; add it under instruments",
        r"notes\.csv is skipped: the sources of this folder read files named \{symbol\}_bt",
    )
    assert len(chosen.skipped) == len(patterns)
    for pattern, line in zip(patterns, chosen.skipped, strict=True):
        assert re.match(pattern, line), line
    with pytest.raises(ConfigError, match=r"--symbol all: no file .*ES is skipped: ES 1h: cannot be made of"):
        chosen_symbols("all", BOOK, folder, timeframe=HOURLY)


def test_all_names_a_symbol_that_the_folders_source_does_not_hold(tmp_path: Path) -> None:
    folder = tmp_path / "equity_hourly"
    folder.mkdir()
    chosen = chosen_symbols("all", BOOK, touch(folder, "SPY_bt.csv", "ES_bt.csv"), timeframe=Timeframe(60))
    assert chosen.symbols == ("SPY",)
    assert chosen.skipped == ("ES_bt.csv is skipped: source equity_hourly holds SPY, not ES",)


def test_all_of_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a folder"):
        chosen_symbols("all", BOOK, tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="no file of a known symbol"):
        chosen_symbols("all", BOOK, tmp_path)


many = App()


@many.command()
def count(symbol: Symbols = "") -> None:
    """Print how many symbols are named."""
    print(len(named_symbols(symbol)))


def test_several_symbols_by_either_flag() -> None:
    for flag in ("--symbol", "--symbols"):
        assert CliRunner().invoke(many, [flag, "ES,NQ"]).output.strip() == "2"
