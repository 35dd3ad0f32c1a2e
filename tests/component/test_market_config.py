from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from lockstep.errors import ConfigError, DataError
from lockstep.market import config
from lockstep.market.config import load_instruments, shipped_config
from lockstep.market.timeframe import DAILY, Timeframe
from lockstep.strategy.matching import on_grid
from support.markets import BOOK, CME, DAILY_ROWS, FIFTEEN, HOURLY, NEW_YORK, stamps, utc, write_daily

# Contract terms as the exchanges publish them: USD per point, smallest price step.
TERMS = {
    "ES": (50, 0.25), "NQ": (20, 0.25), "RTY": (50, 0.1), "YM": (5, 1), "EMD": (100, 0.1), "NKD": (5, 5),
    "MES": (5, 0.25), "MNQ": (2, 0.25), "M2K": (5, 0.1), "MYM": (0.5, 1), "GC": (100, 0.1),
    "SI": (5000, 0.005), "PL": (50, 0.1), "HG": (25000, 0.0005), "MGC": (10, 0.1), "SIL": (1000, 0.005),
    "MHG": (2500, 0.0005), "CL": (1000, 0.01), "NG": (10000, 0.001), "RB": (42000, 0.0001),
    "HO": (42000, 0.0001), "BZ": (1000, 0.01), "QM": (500, 0.025), "QG": (2500, 0.005), "MCL": (100, 0.01),
    "MNG": (1000, 0.001), "ZT": (2000, 1 / 256), "ZF": (1000, 1 / 128), "ZN": (1000, 1 / 64),
    "TN": (1000, 1 / 64), "ZB": (1000, 1 / 32), "UB": (1000, 1 / 32), "6A": (100000, 0.00005),
    "6B": (62500, 0.0001), "6C": (100000, 0.00005), "6E": (125000, 0.00005), "6J": (12500000, 0.0000005),
    "6M": (500000, 0.00001), "6N": (100000, 0.00005), "6S": (125000, 0.00005), "M6A": (10000, 0.0001),
    "M6B": (6250, 0.0001), "M6E": (12500, 0.0001), "MCD": (10000, 0.0001), "MJY": (1250000, 0.000001),
    "MSF": (12500, 0.0001), "ZC": (50, 0.25), "ZW": (50, 0.25), "ZS": (50, 0.25), "KE": (50, 0.25),
    "ZO": (50, 0.25), "ZL": (600, 0.01), "ZM": (100, 0.1), "XC": (10, 0.125), "XW": (10, 0.125),
    "XK": (10, 0.125), "BTC": (5, 5), "MBT": (0.1, 5), "BTC-USD": (1, 0.01), "SPY": (1, 0.01),
    "EURUSD": (100000, 0.00001), "GBPUSD": (100000, 0.00001), "AUDUSD": (100000, 0.00001),
    "NZDUSD": (100000, 0.00001), "SPX": (50, 0.25), "COMP": (20, 0.25),
}  # fmt: skip
# What one tick of a contract is worth, USD, as the exchanges print it: it checks the two numbers above.
TICK_VALUES = {
    "ES": 12.5, "NQ": 5, "RTY": 5, "YM": 5, "EMD": 10, "NKD": 25, "MES": 1.25, "MNQ": 0.5, "M2K": 0.5,
    "MYM": 0.5, "GC": 10, "SI": 25, "PL": 5, "HG": 12.5, "MGC": 1, "SIL": 5, "MHG": 1.25, "CL": 10,
    "NG": 10, "RB": 4.2, "HO": 4.2, "BZ": 10, "QM": 12.5, "QG": 12.5, "MCL": 1, "MNG": 1, "ZT": 7.8125,
    "ZF": 7.8125, "ZN": 15.625, "TN": 15.625, "ZB": 31.25, "UB": 31.25, "6A": 5, "6B": 6.25, "6C": 5,
    "6E": 6.25, "6J": 6.25, "6M": 5, "6N": 5, "6S": 6.25, "M6A": 1, "M6B": 0.625, "M6E": 1.25, "MCD": 1,
    "MJY": 1.25, "MSF": 1.25, "ZC": 12.5, "ZW": 12.5, "ZS": 12.5, "KE": 12.5, "ZO": 12.5, "ZL": 6,
    "ZM": 10, "XC": 1.25, "XW": 1.25, "XK": 1.25, "BTC": 25, "MBT": 0.5,
}  # fmt: skip
PAIRS = {
    "ES": "NQ", "NQ": "ES", "RTY": "YM", "YM": "RTY", "GC": "SI", "SI": "GC", "CL": "NG", "NG": "CL",
    "6A": "6E", "6E": "6A", "HG": "SI", "6B": "6E", "SPX": "COMP", "COMP": "SPX", "EMD": "ES", "NKD": "ES",
    "MES": "MNQ", "MNQ": "MES", "M2K": "MYM", "MYM": "M2K", "MGC": "SIL", "SIL": "MGC", "MHG": "SIL",
    "RB": "CL", "HO": "CL", "BZ": "CL", "QM": "QG", "QG": "QM", "MCL": "MNG", "MNG": "MCL", "ZT": "ZF",
    "ZF": "ZN", "ZN": "ZB", "TN": "ZN", "ZB": "ZN", "UB": "ZB", "M6A": "M6E", "M6B": "M6E", "M6E": "M6A",
    "ZW": "ZC", "ZS": "ZC", "KE": "ZW", "ZO": "ZC", "ZL": "ZS", "ZM": "ZS", "XW": "XC", "XK": "XC",
    "EURUSD": "GBPUSD", "GBPUSD": "EURUSD", "AUDUSD": "NZDUSD", "NZDUSD": "AUDUSD",
}  # fmt: skip
CURRENCIES = {"EURUSD", "GBPUSD", "AUDUSD", "NZDUSD"}


def test_every_instrument_has_its_contract_terms() -> None:
    found = {symbol: (one.multiplier, one.tick_size) for symbol, one in BOOK.instruments.items()}
    assert found == TERMS
    assert {symbol: one.pair for symbol, one in BOOK.instruments.items() if one.pair} == PAIRS


@pytest.mark.parametrize("symbol", TICK_VALUES)
def test_a_tick_is_worth_what_the_exchange_says(symbol: str) -> None:
    one = BOOK.instrument(symbol)
    assert one.multiplier * one.tick_size == pytest.approx(TICK_VALUES[symbol], rel=1e-12)
    ticks = np.arange(1, 5_000) * one.tick_size
    assert [on_grid(price, one.tick_size, 0.0) for price in ticks] == pytest.approx(ticks, rel=1e-12)


def test_costs_and_sizes_of_futures_have_defaults() -> None:
    for symbol in TICK_VALUES:
        one = BOOK.instrument(symbol)
        assert (one.commission, one.slippage_ticks, one.currency, one.size_step) == (1.25, 1.0, "USD", 1.0)
        assert one.costs[-2:] == (0.0, 0.0)
    assert BOOK.instrument("ES").costs == (50.0, 0.25, 0.25, 1.25, 0.0, 0.0)
    assert {*TERMS} - {*TICK_VALUES} == {"BTC-USD", "SPY", *CURRENCIES, "SPX", "COMP"}


def test_whoever_is_no_future_declares_what_an_order_costs() -> None:
    costs = {
        symbol: BOOK.instrument(symbol).costs[3:] for symbol in ("SPY", "BTC-USD", "EURUSD", "SPX", "COMP")
    }
    assert costs == {
        "SPY": (0.005, 0.0, 1.0), "BTC-USD": (0.0, 0.001, 0.0), "EURUSD": (0.0, 0.00002, 2.0),
        "SPX": (1.25, 0.0, 0.0), "COMP": (1.25, 0.0, 0.0),
    }  # fmt: skip


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
SHARE = {"session": "NYSE", "multiplier": 1, "tick_size": 0.01}


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
        ("instruments", "ES", None, "instruments.ES: null: expected a mapping"),
        ("instruments", "KO", SHARE, r"KO: commission is missing, and only futures.*XNYS.*per_share: 0.005"),
        (
            "instruments",
            "KO",
            SHARE | {"commission": {"minimum": 1}},
            "KO: commission: state the cost of an order",
        ),
        ("instruments", "KO", SHARE | {"commission": {"per_shares": 1}}, "did you mean 'per_share'"),
        (
            "instruments",
            "KO",
            SHARE | {"commission": {"per_share": 1, "per_contract": 1}},
            "give one of them",
        ),
        ("instruments", "KO", SHARE | {"commission": {"per_share": -1}}, "KO: commission -1"),
        ("instruments", "KO", SHARE | {"commission": "free"}, "KO: commission 'free'"),
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


def test_currency_pairs_trade_from_sunday_to_friday_at_five_in_new_york() -> None:
    """In winter and in summer; closed on Christmas and New Year's Day, open on American holidays."""
    session = BOOK.session("EURUSD")
    bars = {  # end of an hour in New York: (session date, traded)
        "2024-03-08 17:00": ("2024-03-08", True), "2024-03-08 18:00": ("2024-03-11", False),
        "2024-03-10 17:00": ("2024-03-11", False), "2024-03-10 18:00": ("2024-03-11", True),
        "2024-07-08 17:00": ("2024-07-08", True), "2024-07-08 18:00": ("2024-07-09", True),
        "2024-11-28 12:00": ("2024-11-28", True), "2024-12-24 17:00": ("2024-12-24", True),
        "2024-12-25 12:00": ("2024-12-26", False), "2024-12-25 18:00": ("2024-12-26", True),
        "2026-01-01 03:00": ("2026-01-02", False),
    }  # fmt: skip
    end = stamps(list(bars))
    dates = [str(each) for each in session.dates(end, HOURLY)]
    traded = session.in_session(end, HOURLY).tolist()
    assert dict(zip(bars, zip(dates, traded, strict=True), strict=True)) == bars
    assert session.nominal_close(np.array(["2024-07-08"], dtype="M8[D]"))[0] == utc(
        "2024-07-08 17:00", NEW_YORK
    )
