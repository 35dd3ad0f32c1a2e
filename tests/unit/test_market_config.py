from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from lockstep.errors import ConfigError, DataError
from lockstep.market import config
from lockstep.market.config import load_instruments, shipped_config
from lockstep.market.timeframe import DAILY, Timeframe
from support.markets import BOOK, CME, DAILY_ROWS, FIFTEEN, HOURLY, write_daily

# Contract terms as the exchanges publish them: USD per point, smallest price step.
TERMS = {
    "ES": (50, 0.25), "NQ": (20, 0.25), "RTY": (50, 0.1), "YM": (5, 1), "GC": (100, 0.1),
    "SI": (5000, 0.005), "PL": (50, 0.1), "HG": (25000, 0.0005), "CL": (1000, 0.01), "NG": (10000, 0.001),
    "6A": (100000, 0.00005), "6B": (62500, 0.0001), "6C": (100000, 0.00005), "6E": (125000, 0.00005),
    "6J": (12500000, 0.0000005), "6M": (500000, 0.00001), "6N": (100000, 0.00005), "6S": (125000, 0.00005),
    "ZC": (50, 0.25), "SPY": (1, 0.01), "BTC-USD": (1, 0.01), "SPX": (50, 0.25), "COMP": (20, 0.25),
}  # fmt: skip
PAIRS = {
    "ES": "NQ", "NQ": "ES", "RTY": "YM", "YM": "RTY", "GC": "SI", "SI": "GC", "CL": "NG", "NG": "CL",
    "6A": "6E", "6E": "6A", "HG": "SI", "6B": "6E", "SPX": "COMP", "COMP": "SPX",
}  # fmt: skip


def test_every_instrument_has_its_contract_terms() -> None:
    found = {symbol: (one.multiplier, one.tick_size) for symbol, one in BOOK.instruments.items()}
    assert found == TERMS
    assert {symbol: one.pair for symbol, one in BOOK.instruments.items() if one.pair} == PAIRS


def test_defaults_of_costs_and_sizes() -> None:
    for symbol, one in BOOK.instruments.items():
        assert (one.commission, one.slippage_ticks, one.currency) == (1.25, 1.0, "USD"), symbol
        assert one.size_step == (0.0001 if symbol == "BTC-USD" else 1.0), symbol
    assert BOOK.instrument("ES").costs == (50.0, 0.25, 0.25, 1.25)


def test_the_indices_say_what_they_stand_in_for() -> None:
    proxies = {symbol: one.proxy_of for symbol, one in BOOK.instruments.items() if one.proxy_of}
    assert proxies == {"SPX": "ES", "COMP": "NQ"}
    assert "proxy" in BOOK.instrument("COMP").name


def test_a_market_is_an_instrument_with_its_session() -> None:
    market = BOOK.market("ES")
    assert market.instrument.symbol == "ES"
    assert market.session is BOOK.session("NQ") is CME
    assert set(BOOK.markets) == set(TERMS)
    assert BOOK.markets["ES"] == market


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"symbol 'ESZ': not in instruments.yml; did you mean 'ES'\?"):
        BOOK.instrument("ESZ")
    with pytest.raises(ConfigError, match=r"session 'NYS'.*'NYSE'"):
        BOOK.session_named("NYS")
    with pytest.raises(ConfigError, match=r"source 'futures_dayly'.*'futures_daily'"):
        BOOK.source("ES", None, name="futures_dayly")


# ---- which source


def folder(root: Path, name: str, *files: str) -> Path:
    path = root / name
    path.mkdir()
    for file in files:
        (path / file).write_text("x")
    return path


def test_the_folder_and_the_symbol_choose_the_source(tmp_path: Path) -> None:
    path = write_daily(tmp_path, *DAILY_ROWS)
    source, found = BOOK.source("ES", path.parent)
    assert (source.name, found) == ("futures_daily", path)
    assert source.adjustment == "difference"


def test_the_timeframe_chooses_among_the_sources_of_a_folder(tmp_path: Path) -> None:
    path = folder(tmp_path, "equity_hourly", "SPY_bt.csv", "SPY_daily.csv")
    names = {
        frame: BOOK.source("SPY", path, timeframe=frame)[0].name
        for frame in (None, HOURLY, Timeframe(240), DAILY)
    }
    assert names == {
        None: "equity_hourly", HOURLY: "equity_hourly", Timeframe(240): "equity_hourly", DAILY: "equity_daily"
    }  # fmt: skip
    (path / "SPY_daily.csv").unlink()
    assert BOOK.source("SPY", path, timeframe=DAILY)[0].name == "equity_hourly"
    with pytest.raises(DataError, match=r"SPY 15min: cannot be made of SPY_bt.csv \(1h\)"):
        BOOK.source("SPY", path, timeframe=FIFTEEN)
    with pytest.raises(DataError, match="SPY 90min"):
        BOOK.source("SPY", path, timeframe=Timeframe(90))


def test_intraday_bars_are_not_made_of_daily_ones(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="longer timeframe"):
        BOOK.source("ES", write_daily(tmp_path, *DAILY_ROWS).parent, timeframe=HOURLY)


def test_a_source_may_be_named_for_a_folder_of_any_name(tmp_path: Path) -> None:
    path = folder(tmp_path, "mine", "ES_bt.csv")
    with pytest.raises(ConfigError, match=r"mine: no source describes it.*futures_daily"):
        BOOK.source("ES", path)
    assert BOOK.source("ES", path, name="futures_1min")[0].name == "futures_1min"


def test_a_missing_file_is_said_with_the_name_it_should_have(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"ES: no file ES_bt \(.csv, .csv.gz or .parquet\)"):
        BOOK.source("ES", folder(tmp_path, "futures_daily"))
    hidden = BOOK.model_copy(
        update={
            "sources": {"x": BOOK.sources["embedded_comp"].model_copy(update={"package": "nothing_here"})}
        }
    )
    with pytest.raises(DataError, match="package nothing_here"):
        hidden.source("COMP")


def test_only_the_indices_come_with_the_package() -> None:
    assert BOOK.source("COMP")[0].name == "embedded_comp"
    with pytest.raises(ConfigError, match=r"only for COMP, SPX"):
        BOOK.source("ES")


def test_ticks_make_any_timeframe(tmp_path: Path) -> None:
    daily = BOOK.sources["futures_daily"]
    ticks = daily.model_copy(update={"name": "ticks", "timeframe": None, "stamp": "trade"})
    book = BOOK.model_copy(update={"sources": {"ticks": ticks}})
    assert (
        book.source("ES", folder(tmp_path, "futures_daily", "ES_bt.csv"), timeframe=FIFTEEN)[0].name
        == "ticks"
    )


# ---- the file


def broken(tmp_path: Path, section: str, name: str, values: object) -> Path:
    content = yaml.safe_load(shipped_config("instruments.yml").read_text())
    content[section][name] = values
    path = tmp_path / "instruments.yml"
    path.write_text(yaml.safe_dump(content))
    return path


ES = {"session": "CME", "multiplier": 50, "tick_size": 0.25}


@pytest.mark.parametrize(
    ("section", "name", "values", "message"),
    [
        (
            "instruments",
            "ES",
            ES | {"tick_sise": 1},
            r"instruments.ES: unknown key 'tick_sise'; did you mean 'tick_size'",
        ),
        ("instruments", "ES", ES | {"multiplier": -1}, "instruments.ES: multiplier -1"),
        ("instruments", "ES", ES | {"currency": "EUR"}, "USD"),
        ("instruments", "ES", {"session": "CME", "multiplier": 50}, "key 'tick_size' is missing"),
        ("instruments", "ES", ES | {"pair": "NQQ"}, r"ES.pair 'NQQ': not declared; did you mean 'NQ'"),
        (
            "instruments",
            "ES",
            ES | {"session": "CMEX"},
            r"ES.session 'CMEX': not declared; did you mean 'CME'",
        ),
        ("instruments", "ES", ES | {"proxy_of": "XX"}, "ES.proxy_of 'XX'"),
        ("instruments", "ES", None, "instruments.ES: None: expected a mapping"),
        ("sessions", "CME", {"open": 1080}, "sessions.CME"),
        ("sources", "futures_daily", {"folder": "x", "stamps": "close"}, "sources.futures_daily"),
        ("sources", "x", {"folder": "x", "timeframe": "2d"}, "sources.x: timeframe '2d'"),
    ],
)
def test_a_wrong_entry_is_one_line_that_names_it(
    tmp_path: Path, section: str, name: str, values: object, message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_instruments(broken(tmp_path, section, name, values))
    assert "\n" not in str(caught.value)


def test_a_source_of_an_unknown_session_is_refused(tmp_path: Path) -> None:
    values = {"folder": "x", "timeframe": "1min", "stamp": "close", "session": "LSE", "adjustment": "none"}
    with pytest.raises(ConfigError, match=r"sources.x.session 'LSE': not declared"):
        load_instruments(broken(tmp_path, "sources", "x", values))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a mapping with sessions, sources, instruments"),
        ("instrument: {}", "unknown key 'instrument'; did you mean 'instruments'"),
        ("sessions: {}", "section sources is missing"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "instruments.yml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_instruments(path)


def test_without_a_file_it_is_said_where_it_was_looked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(config, "_PLACES", (tmp_path,))
    with pytest.raises(ConfigError, match="not found in"):
        load_instruments()
