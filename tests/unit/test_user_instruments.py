"""The user's own instruments file: where it is found, what it adds and replaces, and whom errors name."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest
import yaml

from lockstep.errors import ConfigError
from lockstep.market import config
from lockstep.market.config import load_instruments, shipped_config, user_file
from lockstep.market.families import load_families
from lockstep.market.instrument import Instrument

QQQ = """
instruments:
  QQQ: {session: NYSE, multiplier: 1, tick_size: 0.01, commission: {per_share: 0.004}, pair: SPY}
sources:
  my_funds: {folder: funds, timeframe: 1d, stamp: session_date, session: NYSE, adjustment: none}
families:
  NASDAQ100: [QQQM]
  SEMICONDUCTORS: [SMH, SOXX]
"""
DEARER_ES = "instruments:\n  ES: {session: CME, multiplier: 50, tick_size: 0.25, commission: 2.1, pair: NQ}\n"


@pytest.fixture(autouse=True)
def _nothing_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "_said", set())


@pytest.fixture
def mine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    path = tmp_path / "mine.yml"
    monkeypatch.setenv("LOCKSTEP_INSTRUMENTS", str(path))
    return path


def test_it_is_looked_for_where_the_variable_says_then_in_the_users_configuration(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("LOCKSTEP_INSTRUMENTS")
    assert user_file() is None
    places = [tmp_path / ".config/lockstep", tmp_path / "xdg/lockstep"]
    for place in places:
        place.mkdir(parents=True)
        (place / "instruments.yml").write_text(QQQ)
    assert user_file() == places[0] / "instruments.yml"
    assert "QQQ" in load_instruments().instruments
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert user_file() == places[1] / "instruments.yml"
    monkeypatch.setenv("LOCKSTEP_INSTRUMENTS", "~/other.yml")
    with pytest.raises(ConfigError, match=r"LOCKSTEP_INSTRUMENTS ~/other\.yml: no such file"):
        load_instruments()
    (tmp_path / "other.yml").write_text("")
    assert user_file() == tmp_path / "other.yml"
    monkeypatch.setenv("LOCKSTEP_INSTRUMENTS", "")
    assert user_file() is None
    assert "QQQ" not in load_instruments().instruments


def test_what_only_adds_changes_nothing_else(mine: Path, caplog: pytest.LogCaptureFixture) -> None:
    mine.write_text(QQQ)
    book, shipped = load_instruments(), load_instruments(shipped_config("instruments.yml"))
    assert book.instrument("QQQ").costs[3:] == (0.004, 0.0, 0.0)
    assert set(book.instruments) - set(shipped.instruments) == {"QQQ"}
    assert set(book.sources) - set(shipped.sources) == {"my_funds"}
    for name, instrument in shipped.instruments.items():
        assert book.instruments[name] == instrument
        assert book.digest([name], []) == shipped.digest([name], [])
    assert not caplog.records


def test_an_entry_that_replaces_a_shipped_one_is_said_once_and_counts_in_the_digest(
    mine: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mine.write_text(DEARER_ES)
    with caplog.at_level(logging.WARNING):
        book = load_instruments()
        load_instruments()
    shipped = load_instruments(shipped_config("instruments.yml"))
    said = [record.getMessage() for record in caplog.records]
    assert said == [f"{mine}: instruments.ES replaces that of {shipped_config('instruments.yml')}"]
    assert book.instrument("ES").commission == 2.1
    assert book.digest(["ES"], []) != shipped.digest(["ES"], [])
    assert book.digest(["NQ"], []) == shipped.digest(["NQ"], [])


def test_a_full_copy_of_the_shipped_file_replaces_nothing(
    mine: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mine.write_text(shipped_config("instruments.yml").read_text())
    assert load_instruments() == load_instruments(shipped_config("instruments.yml"))
    assert not caplog.records


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "instruments: {KO: {session: NYSE, multiplier: 1, tick_size: 0.01}}",
            "instruments.KO: commission is",
        ),
        ("instruments: {KO: {session: NYS, multiplier: 1, tick_size: 1}}", "KO.session 'NYS': not declared"),
        ("instruments: {ES: {session: CME, multiplier: 50, tick_sice: 1}}", "instruments.ES: unknown key"),
        ("sources: {mine: {folder: x}}", "sources.mine: key"),
        ("instrumets: {}", "unknown key 'instrumets'; did you mean 'instruments'"),
        ("instruments: [ES]", "section instruments: expected entries by name"),
        ("[]", "expected a mapping"),
        ("{", "cannot be read as YAML"),
    ],
)
def test_errors_name_the_file_of_the_entry(mine: Path, text: str, message: str) -> None:
    mine.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_instruments()
    assert str(caught.value).startswith(f"{mine}: ")
    assert "\n" not in str(caught.value)


def test_a_shipped_entry_that_the_users_file_breaks_is_named_with_its_own_file(mine: Path) -> None:
    """Negative control of the last test."""
    content = yaml.safe_load(shipped_config("instruments.yml").read_text())
    content["instruments"]["ES"]["pair"] = "NQQ"
    folder = mine.parent / "configs"
    folder.mkdir()
    (folder / "instruments.yml").write_text(yaml.safe_dump(content))
    shutil.copy(shipped_config("exceptions.csv"), folder)
    mine.write_text(QQQ)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, "_PLACES", (folder,))
        with pytest.raises(ConfigError, match=r"instruments\.yml: instruments\.ES\.pair 'NQQ'"):
            load_instruments()


def test_families_grow_and_lose_nothing(mine: Path) -> None:
    mine.write_text(QQQ)
    families, shipped = load_families(), load_families(shipped_config("families.yml"))
    assert families.listed("QQQM") == "NASDAQ100" == families.listed("NQ")
    assert families.listed("SOXX") == "SEMICONDUCTORS"
    assert all(families.listed(each) == name for name, found in shipped.families.items() for each in found)
    mine.write_text("families: {MY_OWN: [SPY]}")
    with pytest.raises(ConfigError, match=r"mine\.yml: families\.MY_OWN: SPY is in SP500 already"):
        load_families()
    mine.write_text("families: {MY_OWN: SPY}")
    with pytest.raises(ConfigError, match=r"mine\.yml: families"):
        load_families()


def test_the_example_of_the_documentation_loads(mine: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "data.md").read_text()
    mine.write_text(page.partition("### Your own file")[2].partition("```yaml\n")[2].partition("```")[0])
    book = load_instruments()
    assert book.instrument("QQQ").costs == (1.0, 0.01, 0.01, 0.005, 0.0, 1.0)
    assert book.sources["funds"].file == "{symbol}"
    assert load_families().listed("QQQM") == "NASDAQ100"
    for line in (
        page.partition("### What an order costs")[2]
        .partition("```yaml\n")[2]
        .partition("```")[0]
        .splitlines()
    ):
        declared = yaml.safe_load(line) | {"symbol": "X", "multiplier": 1, "tick_size": 1, "session": "CME"}
        assert max(Instrument.model_validate(declared).costs[3:]) > 0.0


def test_a_file_that_changes_is_read_again(mine: Path) -> None:
    """Books are kept by content: neither the file's time nor its length tells."""
    mine.write_text(DEARER_ES)
    before = load_instruments()
    assert load_instruments() is before
    mine.write_text(DEARER_ES.replace("2.1", "2.2"))
    assert load_instruments().instrument("ES").commission == 2.2
    mine.unlink()
    with pytest.raises(ConfigError, match="no such file"):
        load_instruments()
