"""`PortfolioSheet`: what the page of a portfolio shows, and what its cards are computed from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lockstep import metrics
from lockstep.errors import DataError
from lockstep.portfolio.session_changes import SessionCloses, common_changes, newest_changes
from lockstep.portfolio.var import DEFAULT, TAILS
from lockstep.portfolio.var_decomposition import VarDecomposition, var_decomposition
from research.report.data import Floats, ReportData, floats

STATE_COLUMNS = ("scale", "stopped", "halted")
PROPOSAL_COLUMNS = ("symbol", "stamp", "rule")
LANE_COLUMNS = ("close", "position", "equity")
# Bars of a figure over time: years where more quarters, quarters where more months than this would be drawn.
_MOST_BARS = 24


@dataclass(frozen=True, kw_only=True, eq=False)
class LaneSheet:
    """One lane of a portfolio, ready to be drawn.

    strategy     name of its configuration
    capital      of its own account, USD: what its equity begins with
    multiplier   USD per point of one contract
    equity       one row per bar, indexed by `end` (UTC): close (points), position (contracts), equity (USD)
    trades       as in `ReportData`
    """

    symbol: str
    strategy: str
    capital: float
    multiplier: float
    equity: pd.DataFrame
    trades: pd.DataFrame


@dataclass(frozen=True, kw_only=True, eq=False)
class PortfolioSheet:
    """One run of a portfolio, ready to be drawn. Amounts are USD.

    account     the account as a report: `equity` has one row per bar set, indexed by the end of the set, and
                beside session_date and equity the columns scale (what new sizes are multiplied by), stopped
                (a day's loss has ended its entries) and halted (a drawdown has ended all); `trades` are those
                of all lanes, held in days
    lanes       by symbol
    proposals   one row per proposal: symbol, stamp (UTC ns), rule that refused, empty where it was admitted
    closes      of the lanes' instruments by session, up to the end; reserved: entries that wait to fill then,
                contracts, signed. Empty where they are not known: then there is nothing on the next session

    DataError where a column is missing or there is no lane.
    """

    account: ReportData
    lanes: Sequence[LaneSheet]
    proposals: pd.DataFrame
    closes: Mapping[str, SessionCloses] = field(default_factory=dict)
    reserved: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.lanes:
            raise DataError(f"report of {self.account.symbol}: no lane: a portfolio has at least one")
        given = [
            ("equity", self.account.equity, STATE_COLUMNS),
            ("proposals", self.proposals, PROPOSAL_COLUMNS),
        ]
        given += [(f"equity of {each.symbol}", each.equity, LANE_COLUMNS) for each in self.lanes]
        for name, frame, needed in given:
            missing = [column for column in needed if column not in frame.columns]
            if missing:
                raise DataError(f"portfolio report, {name}: no column {', '.join(missing)}")

    @property
    def symbols(self) -> list[str]:
        """Symbols of the lanes."""
        return [each.symbol for each in self.lanes]

    @cached_property
    def stamps(self) -> NDArray[np.int64]:
        """Ends of the bar sets, int64 (sets,), UTC ns."""
        return pd.DatetimeIndex(self.account.equity.index).as_unit("ns").asi8

    @cached_property
    def earned(self) -> Floats:
        """What each lane has made after each set, float64 (sets, lanes), marked at its last known close."""
        return self._marked(lambda lane, rows: floats(lane.equity, "equity")[rows] - lane.capital)

    @cached_property
    def notional(self) -> Floats:
        """Signed notional value of each lane after each set, float64 (sets, lanes)."""

        def value(lane: LaneSheet, rows: NDArray[np.intp]) -> Floats:
            close, position = floats(lane.equity, "close")[rows], floats(lane.equity, "position")[rows]
            return np.asarray(position * np.abs(close) * lane.multiplier)

        return self._marked(value)

    @cached_property
    def positions(self) -> Floats:
        """Contracts of each lane after each set, signed, float64 (sets, lanes)."""
        return self._marked(lambda lane, rows: floats(lane.equity, "position")[rows])

    @cached_property
    def exposed(self) -> Floats:
        """Contracts of each lane after the last set, waiting entries included, signed, float64 (lanes,)."""
        waiting = np.array([self.reserved.get(symbol, 0.0) for symbol in self.symbols])
        return np.asarray(self.positions[-1] + waiting)

    @cached_property
    def next_session(self) -> dict[float, VarDecomposition] | str:
        """Risk of the next session by tail; a sentence where it cannot be measured."""
        try:
            _, changes = common_changes({symbol: self.closes[symbol] for symbol in self.symbols})
            return {
                tail: var_decomposition(
                    newest_changes(changes, tail, DEFAULT), self.exposed, self.symbols, tail
                )
                for tail in TAILS
            }
        except DataError as error:
            return str(error)

    def _marked(self, of: Callable[[LaneSheet, NDArray[np.intp]], Floats]) -> Floats:
        found = np.zeros((self.stamps.size, len(self.lanes)))
        for place, lane in enumerate(self.lanes):
            ends = pd.DatetimeIndex(lane.equity.index).as_unit("ns").asi8
            rows = np.searchsorted(ends, self.stamps, side="right") - 1
            known = rows >= 0
            found[known, place] = of(lane, rows[known])
        return found

    @cached_property
    def session_pnl(self) -> Floats:
        """What each lane made in each session, float64 (sessions, lanes)."""
        ends = self.earned[self.account.session_ends]
        return np.diff(ends, axis=0, prepend=np.zeros((1, len(self.lanes))))

    @cached_property
    def correlation(self) -> pd.DataFrame:
        """Correlations of the lanes' results by session; NaN beside a lane whose results do not vary."""
        pnl = self.session_pnl
        varies = pnl.std(axis=0) > 0.0 if len(pnl) > 1 else np.zeros(len(self.lanes), dtype=np.bool_)
        found = np.full((len(self.lanes), len(self.lanes)), np.nan)
        if varies.any():
            found[np.ix_(varies, varies)] = np.atleast_2d(np.corrcoef(pnl[:, varies], rowvar=False))
        return pd.DataFrame(found, index=self.symbols, columns=self.symbols)

    @cached_property
    def risk_shares(self) -> Floats:
        """Covariance of each lane's results by session with the account's, over its variance.

        float64 (lanes,), adding up to 1; NaN where the account's results do not vary.
        """
        pnl = self.session_pnl - self.session_pnl.mean(axis=0)
        total = pnl.sum(axis=1)
        variance = float(total @ total)
        return np.asarray(pnl.T @ total) / variance if variance > 0.0 else np.full(len(self.lanes), np.nan)

    @cached_property
    def refused(self) -> pd.DataFrame:
        """How many proposals of each lane (columns) each rule (rows) refused, most frequent first."""
        refused = self.proposals[self.proposals["rule"] != ""]
        counts = pd.crosstab(refused["rule"].astype(str), refused["symbol"].astype(str))
        counts = counts.reindex(columns=self.symbols, fill_value=0)
        total = dict(zip(counts.index, counts.to_numpy().sum(axis=1).tolist(), strict=True))
        return counts.loc[sorted(total, key=lambda rule: (-total[rule], rule))]

    def over_time(self) -> tuple[list[str], pd.DataFrame]:
        """Return calendar periods in words, and how many proposals each rule (rows) refused in each."""
        dates = self.account.session_dates
        span = pd.PeriodIndex(pd.DatetimeIndex(dates[[0, -1]]), freq="M")
        unit = next((each for each in ("M", "Q") if np.diff(span.asfreq(each).asi8)[0] < _MOST_BARS), "Y")
        refused = self.proposals[self.proposals["rule"] != ""]
        rows = np.searchsorted(self.stamps, refused["stamp"].to_numpy(dtype=np.int64))
        periods = pd.PeriodIndex(pd.DatetimeIndex(dates[rows]), freq=unit)
        every = pd.period_range(span[0].asfreq(unit), span[1].asfreq(unit), freq=unit)
        counts = pd.crosstab(refused["rule"].astype(str).to_numpy(), periods)
        counts = counts.reindex(index=self.refused.index, columns=every, fill_value=0)
        return [str(each) for each in every], counts

    @cached_property
    def stops(self) -> NDArray[np.intp]:
        """Sets in which a day's loss ended entries, the first of each such session."""
        stopped = self.account.equity["stopped"].to_numpy(dtype=np.bool_)
        _, session = np.unique(self.account.session_dates, return_inverse=True)
        rows = np.flatnonzero(stopped)
        return rows[np.unique(session[rows], return_index=True)[1]]

    @cached_property
    def halt(self) -> int | None:
        """The first set after which nothing is entered any more, None where there is none."""
        halted = np.flatnonzero(self.account.equity["halted"].to_numpy(dtype=np.bool_))
        return int(halted[0]) if halted.size else None

    @cached_property
    def drawdown(self) -> Floats:
        """Fall of the equity below its highest before, capital included, float64 (sets,), >= 0."""
        return metrics.drawdowns(self.account.curve)[1:]
