"""Reports with known content, and a reader of the pages made from them."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd

from lockstep import metrics
from research.report import ReportData, tearsheet
from research.report.data import TRADE_COLUMNS, floats

CAPITAL = 100_000.0
# Of 800 bars, four runs of five bars in turn: unknown at first.
REGIMES = np.concatenate((np.full(20, np.nan), np.tile(np.repeat([1.0, -1.0, 0.0, 2.0], 5), 39)))


def report(
    bars: int = 300, closed: int = 20, *, timeframe: str = "1d", per_session: int = 1, **changes: Any
) -> ReportData:
    """Return a report with a known equity curve; trade k runs from bar 5k + 1 to 5k + 3."""
    random = np.random.default_rng(7)
    days = np.datetime64("2019-11-01") + np.arange(bars) // per_session
    step = pd.Timedelta(hours=1) if per_session > 1 else pd.Timedelta(days=1)
    end = pd.date_range("2019-11-01 21:00", periods=bars, freq=step, tz="UTC")
    close = 3000.0 + np.cumsum(random.normal(0, 10, bars))
    equity = CAPITAL + np.cumsum(random.normal(20, 400, bars)) if closed else np.full(bars, CAPITAL)
    rows = [trade(k, end, close) for k in range(closed)]
    booked = pd.DataFrame(rows, columns=list(TRADE_COLUMNS))
    values: dict[str, Any] = {
        "title": "IBS baseline",
        "symbol": "COMP",
        "instrument_name": "NASDAQ Composite",
        "proxy_of": "NQ",
        "timeframe": timeframe,
        "capital": CAPITAL,
        "equity": pd.DataFrame(
            {"session_date": days, "close": close, "equity": equity, "position": 0.0, "cash": equity},
            index=end,
        ),
        "trades": booked,
        "reasons": pd.DataFrame(
            [("cold_window", "no_trade", 252), ("filter:rsi_2", "no_trade", 40), ("entry", "entry", 20)],
            columns=["reason", "kind", "count"],
        ),
        "features": pd.DataFrame({"ibs": np.linspace(0, 1, bars)}, index=end),
        "metrics": metrics.summary(
            equity=equity,
            session=days,
            trade_pnl=floats(booked, "net_pnl"),
            trade_bars_held=floats(booked, "bars_held"),
            position=np.zeros(bars),
            traded_notional=1e6,
            capital=CAPITAL,
            sessions_per_year=365.0,
        ),
        "provenance": {"code": "c0de" * 16, "seed": "7"},
        "config_yaml": "direction: long\nentry: {min: 0.0, max: 0.2}\n",
        "notes": ["An index cannot be traded."],
        "sessions_per_year": 365.0,
    }
    return ReportData(**{**values, **changes})


def full(**changes: Any) -> ReportData:
    """Return a report of 800 bars with positions, excursions and a multiplier: its page has every part."""
    small = report(bars=800)
    position = np.zeros(800)
    for each in small.trades.itertuples():
        first, last = small.equity.index.searchsorted([each.entry_end, each.exit_end])
        position[first:last] = each.side
    excursions = small.trades.assign(mae=120.0, mfe=floats(small.trades, "net_pnl") + 500.0)
    return replace(
        small,
        equity=small.equity.assign(position=position),
        trades=excursions,
        multiplier=20.0,
        **{"regimes": REGIMES, **changes},
    )


def trade(k: int, end: pd.DatetimeIndex, close: Any) -> tuple[Any, ...]:
    side, entry, last = 1 if k % 3 else -1, 5 * k + 1, 5 * k + 3
    net = 137.25 * (k - 8)
    return (
        f"COMP-{k}", side, 1.0, end[entry - 1], end[entry], close[entry], end[last], close[last],
        ("exit_ibs", "stop", "time_exit")[k % 3], 2, net + 2.5, 2.5, 10.0, net, "closed",
    )  # fmt: skip


class Page(HTMLParser):
    """Collects what a browser would load or run, and the figures' data."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[tuple[str, str]] = []
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.figures: dict[str, Any] = {}
        self.text = ""
        self._inside: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        self.tags.append(tag)
        self.attributes += values
        self.loads += [(tag, value or "") for key, value in attributes if key in ("src", "href", "action")]
        self._inside = values.get("id") if values.get("type") == "application/json" else f"<{tag}>"

    def handle_endtag(self, tag: str) -> None:
        self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside and self._inside.endswith("-data"):
            self.figures[self._inside.removesuffix("-data")] = json.loads(data)
        elif self._inside not in ("<script>", "<style>"):
            self.text += data


def page(data: ReportData) -> Page:
    return Page(tearsheet.tearsheet_html(data))
