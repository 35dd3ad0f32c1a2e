"""Files of contracts: the command that builds their roll table, and what loading makes of them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lockstep.console import run
from lockstep.errors import ConfigError, DataError
from lockstep.live.config import HistorySettings
from lockstep.live.warmup import settled_bars
from lockstep.market import reach
from lockstep.market.config import USER_FILE_VARIABLE, load_instruments
from lockstep.market.history import SeriesKey
from lockstep.market.loader import load_bars, load_history
from lockstep.market.timeframe import DAILY
from research.utils.rolls_cli import app
from support.contracts import ROLLS, SESSIONS, SPREADS, contracts, raw, table, uncut, write_contracts
from support.markets import CME

Command = Callable[..., tuple[object, str, str]]

SOURCE = """sources:
  contracts:
    {{folder: contracts, file: "{{symbol}}{{contract}}_bt", timeframe: 1d, stamp: session_date, session: CME,
     adjustment: {adjustment}{more}}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of contracts whose source the user's file declares."""
    declare(tmp_path, monkeypatch)
    return write_contracts(tmp_path / "contracts", contracts("ES"), CME)


def declare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adjustment: str = "none", more: str = ""
) -> None:
    file = tmp_path / "instruments.yml"
    file.write_text(SOURCE.format(adjustment=adjustment, more=more))
    monkeypatch.setenv(USER_FILE_VARIABLE, str(file))


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    def call(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["rolls", *arguments])
        with pytest.raises(SystemExit) as stopped:
            run(app)
        said = capsys.readouterr()
        return stopped.value.code, said.out, " ".join(said.err.split())

    return call


def build(command: Command, folder: Path, *more: str) -> tuple[object, str, str]:
    return command("build", "--symbol", "ES", "--data-dir", str(folder), "--rule", "volume", *more)


def test_a_table_is_built_shown_and_loaded(command: Command, folder: Path) -> None:
    code, out, err = build(command, folder)
    assert (code, err) == (0, "")
    assert "8 rolls added, 8 in all" in out
    lines = (folder / "rolls" / "ES.csv").read_text().splitlines()
    assert lines[1].startswith(f"ESH10,ESM10,{SESSIONS[ROLLS[0]]},{SPREADS[0]},volume,")
    code, out, _ = command("show", "--symbol", "ES", "--data-dir", str(folder))
    assert code == 0
    assert "+218" in out
    loaded, known = load_bars("ES", folder), raw("ES")
    assert loaded.close.tobytes() == known.close.tobytes()
    assert loaded.content_hash == known.content_hash
    history = load_history("ES", folder)
    assert history.markets["ES"].rolls is not None
    assert history.markets["ES"].rolls.contracts == table("ES").contracts


def test_live_reads_the_same_series(command: Command, folder: Path) -> None:
    build(command, folder)
    key = SeriesKey("ES", DAILY)
    settings = HistorySettings(data_dir=folder, source="contracts")
    settled = settled_bars([key], settings, load_instruments())
    assert settled.series(key).content_hash == raw("ES").content_hash
    assert settled.markets["ES"].rolls is not None


def test_a_second_build_adds_what_is_new_and_changes_nothing(command: Command, folder: Path) -> None:
    files = {name: (folder / f"{name}_bt.csv") for name in contracts("ES")}
    whole = {name: path.read_text() for name, path in files.items()}
    last = str(SESSIONS[ROLLS[3] - 3])
    for name, path in files.items():
        lines = whole[name].splitlines()
        kept = [line for line in lines[1:] if line[:10] <= last]
        path.write_text("\n".join([lines[0], *kept, ""]))
        if not kept:
            path.unlink()
    _, out, _ = build(command, folder)
    assert "4 rolls added" in out
    before = (folder / "rolls" / "ES.csv").read_text().splitlines()
    assert before[-1] == f"ESZ10,ESH11,{SESSIONS[ROLLS[3]]},,volume,"
    for name, path in files.items():
        path.write_text(whole[name])
    _, out, _ = build(command, folder)
    assert "4 rolls added, 8 in all" in out
    after = (folder / "rolls" / "ES.csv").read_text().splitlines()
    assert after[:4] == before[:4]
    assert after[4].startswith(f"ESZ10,ESH11,{SESSIONS[ROLLS[3]]},{SPREADS[3]},volume,")


def test_revised_files_are_shown(command: Command, folder: Path) -> None:
    build(command, folder)
    path = folder / "ESM10_bt.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *lines[2:], ""]))
    code, out, _ = command("show", "--symbol", "ES", "--data-dir", str(folder))
    assert code == 1
    assert "not those that it was" in " ".join(out.split())


def test_open_interest_may_decide(command: Command, folder: Path) -> None:
    """Which here is the volume, written as another column; the volumes say nothing."""
    for path in folder.glob("*.csv"):
        header, *lines = path.read_text().splitlines()
        rows = [",".join([*line.split(",")[:-1], "5", line.split(",")[-1]]) for line in lines]
        path.write_text("\n".join([f"{header},openinterest", *rows, ""]))
    code, _, err = command("build", "--symbol", "ES", "--data-dir", str(folder), "--rule", "volume")
    assert (code, "decides no roll" in err) == (2, True)
    code, out, _ = command("build", "--symbol", "ES", "--data-dir", str(folder), "--rule", "open interest")
    assert (code, "8 in all" in out) == (0, True)
    assert f",{SESSIONS[ROLLS[0]]},{SPREADS[0]},open interest," in (folder / "rolls" / "ES.csv").read_text()


def test_the_old_way_is_one_series_of_levels(
    command: Command, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(command, folder)
    declare(tmp_path, monkeypatch, adjustment="difference")
    loaded = load_bars("ES", folder)
    assert (loaded.adjustment, loaded.rolls) == ("difference", None)
    shift = loaded.close - uncut("ES").close
    assert np.ptp(shift) == 0.0
    assert shift[0] == sum(SPREADS) * 0.25


def test_only_some_months_are_traded(
    command: Command, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(tmp_path, monkeypatch, more=", months: HM")
    _, _, err = build(command, folder)
    # March to June 2010, and then to March 2011, which has no session in common with it.
    assert "ESM10 and ESH11 have no bar in common" in err or "decides no roll" in err


def test_who_may_not_see_later_bars_sees_no_later_roll(
    command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(command, folder)
    monkeypatch.setattr(reach, "UNTIL", SESSIONS[ROLLS[2] - 1].astype(object))
    rolls = load_bars("ES", folder).rolls
    assert rolls is not None
    assert rolls.contracts == table("ES").contracts[:3]


class TestRefusals:
    def test_contracts_without_a_table(self, folder: Path) -> None:
        with pytest.raises(DataError, match="lockstep data rolls build --symbol ES --data-dir"):
            load_bars("ES", folder)

    def test_a_table_that_names_a_contract_without_a_file(self, command: Command, folder: Path) -> None:
        build(command, folder)
        (folder / "ESU10_bt.csv").unlink()
        with pytest.raises(DataError, match="ESU10: no such contract in"):
            load_bars("ES", folder)

    def test_a_contract_that_is_there_twice(self, command: Command, folder: Path) -> None:
        (folder / "ESH2010_bt.csv").write_text((folder / "ESH10_bt.csv").read_text())
        assert "ESH2010 and ESH10 are one contract" in build(command, folder)[2]

    def test_a_year_of_one_digit(self, command: Command, folder: Path) -> None:
        (folder / "ESH0_bt.csv").write_text((folder / "ESH10_bt.csv").read_text())
        assert "two or four digits" in build(command, folder)[2]

    def test_a_folder_without_a_source_of_contracts(self, command: Command, tmp_path: Path) -> None:
        (tmp_path / "other").mkdir()
        _, _, err = build(command, tmp_path / "other")
        assert "needs one source of contracts" in err

    def test_an_unknown_rule(self, command: Command, folder: Path) -> None:
        code, _, err = command("build", "--symbol", "ES", "--data-dir", str(folder), "--rule", "calender 5")
        assert (code, "must be `volume`" in err) == (2, True)
        assert not (folder / "rolls").exists()

    def test_expiries_that_are_none(self, command: Command, folder: Path, tmp_path: Path) -> None:
        (tmp_path / "expiries.csv").write_text("contract,date\nESH10,soon\n")
        code, _, err = command(
            "build", "--symbol", "ES", "--data-dir", str(folder), "--rule", "calendar 5",
            "--expiries", str(tmp_path / "expiries.csv"),
        )  # fmt: skip
        assert (code, "a line is contract,date" in err) == (2, True)

    @pytest.mark.parametrize(
        ("adjustment", "more", "said"),
        [
            ("ratio", "", "contracts are none or difference"),
            ("none", ", months: HX9", "months"),
        ],
    )
    def test_declarations_that_mean_nothing(
        self,
        folder: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        adjustment: str,
        more: str,
        said: str,
    ) -> None:
        declare(tmp_path, monkeypatch, adjustment=adjustment, more=more)
        with pytest.raises(ConfigError, match=said):
            load_instruments()
