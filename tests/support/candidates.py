"""Candidates on embedded bars, registered at a moment of the past."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from lockstep.market import DAILY
from lockstep.market.bars import Bars
from lockstep.market.config import load_instruments
from lockstep.market.dates import DateRange
from lockstep.market.history import History, SeriesKey
from lockstep.strategy.config import StrategyConfig
from operations.contenders import CandidateOrigin, Contender, enrol
from research.ledger.candidates import CandidateTerms, ForwardCandidate
from research.ledger.ledger import Ledger

ROOT = Path(__file__).resolve().parents[2]
BASELINE = ROOT / "configs/strategies/ibs_baseline.yaml"
KEY = SeriesKey("COMP", DAILY)
FREE = CandidateOrigin(searched="adaptive", trials=None)
NOON = datetime(2012, 3, 7, 12, tzinfo=UTC)


def until(bars: Bars, moment: datetime) -> Bars:
    stamp = np.datetime64(moment.replace(tzinfo=None), "ns").astype(np.int64)
    return bars.rows(0, int(np.searchsorted(bars.end, stamp)))


def known(bars: Bars, moment: datetime) -> History:
    return History(bars={KEY: until(bars, moment)}, markets=load_instruments().markets)


def enrolled(ledger: Ledger, strategy: StrategyConfig, bars: Bars, **changes: Any) -> ForwardCandidate:
    given = {"name": "dip", "family": "NASDAQ", "now": NOON, **changes}
    moment = given["now"]
    contender = Contender.of_strategy(strategy, "COMP")
    return enrol(ledger, contender, known(bars, moment), DateRange(), given.pop("provenance", FREE), **given)


def registration(name: str = "a", **changes: Any) -> CandidateTerms:
    given: dict[str, Any] = {
        "kind": "strategy",
        "symbol": "COMP",
        "family": "NASDAQ",
        "hash": name,
        "content": {"drawdown": 20.0},
        "sigma": 0.01,
        "beta": 0.1,
        "searched": "adaptive",
    }
    return CandidateTerms(name=name, **given | changes)
