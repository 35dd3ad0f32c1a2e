"""The tear sheet of a million bars and 100,000 trades: bytes beside the library, and time to write."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.measure import Measured, once
from lockstep import metrics
from research.report import ReportData, write_tearsheet

_BARS, _TRADES = 1_000_000, 100_000
_CAPITAL = 100_000.0


def page() -> Iterator[Measured]:
    """Measure one page whose library lies beside it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        report = million()
        taken = once(lambda: write_tearsheet(report, folder / "page.html", shared_js=folder))
        size = (folder / "page.html").stat().st_size
    yield Measured(
        what="tear sheet of 1,000,000 bars",
        value=size / 1e6,
        unit="MB",
        promise=1.5,
        note=f"100,000 trades, beside the library; {taken:.1f} s to write",
    )


def million() -> ReportData:
    """Return a report of minute bars with a trade every ten, extremes planted nowhere in particular."""
    random = np.random.default_rng(1)
    end = pd.date_range("2015-01-01", periods=_BARS, freq="min", tz="UTC")
    days = end.tz_localize(None).to_numpy().astype("datetime64[D]")
    close = 4000.0 + 100 * np.sin(np.arange(_BARS) / 5e4) + random.normal(0, 2.0, _BARS)
    equity = _CAPITAL + np.cumsum(random.normal(0.05, 20.0, _BARS))
    position = np.where((np.arange(_BARS) // 5) % 2 == 0, 1.0, -1.0)
    trades = _trades(end, close, random)
    return ReportData(
        title="a million minutes",
        symbol="ES",
        instrument_name="E-mini S&P 500",
        proxy_of=None,
        timeframe="1min",
        capital=_CAPITAL,
        equity=pd.DataFrame(
            {"session_date": days, "close": close, "equity": equity, "position": position, "cash": equity},
            index=end,
        ),
        trades=trades,
        reasons=pd.DataFrame([("no_signal", "no_trade", _BARS)], columns=["reason", "kind", "count"]),
        features=pd.DataFrame({"ibs": random.uniform(0, 1, _BARS)}, index=end),
        metrics=metrics.summary(
            equity=equity,
            session=days,
            trade_pnl=trades["net_pnl"].to_numpy(),
            trade_bars_held=trades["bars_held"].to_numpy(),
            position=position,
            traded_notional=1e9,
            capital=_CAPITAL,
        ),
        provenance={"seed": "1"},
        config_yaml="name: million\n",
        notes=["Made up."],
        multiplier=50.0,
    )


def _trades(end: pd.DatetimeIndex, close: np.ndarray, random: np.random.Generator) -> pd.DataFrame:
    at = np.arange(_TRADES) * (_BARS // _TRADES) + 1
    net = random.normal(0, 100, _TRADES)
    return pd.DataFrame(
        {
            "trade_id": [f"ES-{number}" for number in range(_TRADES)],
            "side": np.where(at % 3 == 0, -1, 1),
            "quantity": 1.0,
            "decision_end": end[at - 1],
            "entry_end": end[at],
            "entry_price": close[at],
            "exit_end": end[at + 5],
            "exit_price": close[at + 5],
            "exit_reason": "signal",
            "bars_held": 5,
            "gross_pnl": net + 2.5,
            "commission": 2.5,
            "slippage_cost": 12.5,
            "net_pnl": net,
            "mae": random.uniform(0, 500, _TRADES),
            "mfe": random.uniform(0, 500, _TRADES),
            "status": "closed",
        }
    )
