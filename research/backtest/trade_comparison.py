"""A trade list of another program against a run folder: what matches, what is missing, and why.

Trades are matched by the bar of their entry. Programs stamp a trade with the bar that decided or with the bar
that filled it, and a bar by its start or its end: the convention under which most entries match is taken, and
said.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lockstep.errors import DataError
from lockstep.metrics import Integers
from lockstep.strategy.decision import (
    AFTER_AUTO_CLOSE,
    EXIT_SESSION,
    FILTERED,
    HOLD,
    MISSING,
    NO_SIGNAL,
    OUTSIDE_SESSION,
    OUTSIDE_WINDOW,
    REFUSED,
    SIZE_ZERO,
    VETO,
)
from lockstep.tables import TextTable, number, prose
from research.backtest.trade_list import TradeList

MISSING_TRADE, EXTRA = "missing", "extra"
_CENT = 0.01
_CAUSES = {
    NO_SIGNAL: "signal", OUTSIDE_SESSION: "session", OUTSIDE_WINDOW: "session", AFTER_AUTO_CLOSE: "session",
    VETO: "filter", SIZE_ZERO: "size",
}  # fmt: skip
_NONE = -1


@dataclass(frozen=True, kw_only=True, eq=False)
class RunFolder:
    """What a run left, as far as it is compared.

    ends        int64 (bars,), UTC ns; dates datetime64[D] (bars,): their session dates
    """

    path: Path
    trades: pd.DataFrame
    decisions: pd.DataFrame
    close: Any
    ends: Integers
    dates: Any
    provenance: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> RunFolder:
        """Return a run folder; DataError where it is none."""
        try:
            trades, decisions, equity = (
                pd.read_parquet(path / f"{name}.parquet") for name in ("trades", "reasons", "equity")
            )
            provenance = json.loads((path / "provenance.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path}: cannot be read as a run folder of research.backtest_runner: "
                f"{' '.join(str(error).split())[:120]}; name the folder that holds trades.parquet"
            ) from error
        return cls(
            path=path,
            trades=trades,
            decisions=decisions,
            close=equity["close"].to_numpy(dtype=np.float64),
            ends=pd.DatetimeIndex(equity.index).as_unit("ns").asi8,
            dates=equity["session_date"].to_numpy().astype("datetime64[D]"),
            provenance=provenance,
        )

    @property
    def daily(self) -> bool:
        """Whether a bar is a session."""
        return str(self.provenance["timeframe"]) == "1d"

    def bars(self, column: str) -> Integers:
        """Return the bar of each trade's stamp, int64 (n,), -1 where there is none."""
        stamps = self.trades[column]
        found = np.searchsorted(self.ends, pd.DatetimeIndex(stamps).as_unit("ns").asi8)
        return np.where(stamps.isna(), _NONE, found).astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class TradeDifference:
    """One difference: when (ISO), what (`missing`, `extra` or the field), its cause, and a sentence."""

    when: str
    what: str
    cause: str
    run: str
    mine: str
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What came out; `convention` says how the list's stamps were read."""

    mine: str
    run: str
    convention: str
    matched: int
    equal: int
    missing: int
    extra: int
    differences: tuple[TradeDifference, ...]

    @property
    def same(self) -> bool:
        """Whether both hold the same trades."""
        return not self.differences

    @property
    def text(self) -> str:
        """The comparison as JSON."""
        first = asdict(self.differences[0]) if self.differences else None
        return json.dumps({"schema_version": 1, "same": self.same, "first": first, **asdict(self)}, indent=1)


def compare_trades(mine: TradeList, run: RunFolder) -> Compared:
    """Compare a list with a run; differences come in the order of their bars.

    DataError where the stamps need a zone: the bars are shorter than a session, and the list names none.
    """
    if not (run.daily or mine.clock):
        raise DataError(
            f"{mine.source}: its times have no zone, and bars of {run.provenance['timeframe']} need one: "
            "add --timezone, for example America/New_York or UTC"
        )
    convention, entries, exits = _convention(mine, run)
    pairs, missing, extra = _matched(mine, run, entries, convention)
    compare = _Comparison(mine, run, entries, exits, convention)
    of_pairs = [tuple(compare.pair(*pair)) for pair in pairs]
    found = [
        *chain.from_iterable(of_pairs),
        *(compare.missing(row) for row in missing),
        *(compare.extra(row) for row in extra),
    ]
    return Compared(
        mine=mine.source,
        run=run.path.name,
        convention=str(convention),
        matched=len(pairs),
        equal=sum(not each for each in of_pairs),
        missing=len(missing),
        extra=len(extra),
        differences=tuple(sorted(found, key=lambda each: each.when)),
    )


@dataclass(frozen=True)
class _Convention:
    """How a list stamps: the bar that `decides` or that fills, by its start or its end."""

    decides: bool
    starts: bool

    @property
    def entry(self) -> str:
        return "decision_end" if self.decides else "entry_end"

    @property
    def exit(self) -> str:
        return "exit_decision_end" if self.decides else "exit_end"

    def __str__(self) -> str:
        which = "the bar that decided" if self.decides else "the bar that filled the order"
        return f"{which}{', by its start' if self.starts else ''}"


def _convention(mine: TradeList, run: RunFolder) -> tuple[_Convention, Integers, Integers]:
    """Return the convention under which most entries match, and the bars of the list's entries and exits."""
    best: tuple[int, _Convention, Integers, Integers] | None = None
    for starts in (False,) if run.daily else (False, True):
        entries, exits = (_bars(stamps, run, starts) for stamps in (mine.entry, mine.exit))
        for decides in (False, True):
            convention = _Convention(decides, starts)
            hits = len(set(entries.tolist()) & set(run.bars(convention.entry).tolist()) - {_NONE})
            hits += len(set(exits.tolist()) & set(run.bars(convention.exit).tolist()) - {_NONE})
            if best is None or hits > best[0]:
                best = hits, convention, entries, exits
    assert best is not None
    return best[1:]


def _bars(stamps: Any, run: RunFolder, starts: bool) -> Integers:
    """Return the bar that each stamp falls in, int64 (n,), -1 where there is none."""
    if run.daily:
        days = stamps.astype("datetime64[D]")
        found = np.searchsorted(run.dates, days)
        there = (found < run.dates.size) & ~np.isnat(days)
        there[there] = run.dates[found[there]] == days[there]
        return np.where(there, found, _NONE).astype(np.int64)
    moments = stamps.astype("datetime64[ns]").astype(np.int64)
    found = np.searchsorted(run.ends, moments, side="right" if starts else "left")
    there = (found < run.ends.size) & ~np.isnat(stamps)
    # A stamp long before the bar that it would fall in is in no bar at all.
    step = int(np.median(np.diff(run.ends))) if run.ends.size > 1 else 0
    there[there] = run.ends[found[there]] - moments[there] <= step
    return np.where(there, found, _NONE).astype(np.int64)


def _matched(
    mine: TradeList, run: RunFolder, entries: Integers, convention: _Convention
) -> tuple[list[tuple[int, int]], list[int], list[int]]:
    """Return pairs (run, mine), the run's rows that the list lacks, and the list's that the run lacks."""
    sides = run.trades["side"].to_numpy()
    waiting: dict[int, list[int]] = {}
    for row, bar in enumerate(entries.tolist()):
        waiting.setdefault(bar, []).append(row)
    pairs, missing = [], []
    for row, bar in enumerate(run.bars(convention.entry).tolist()):
        fitting = [
            each
            for each in waiting.get(bar, ())
            if np.isnan(mine.side[each]) or mine.side[each] == sides[row]
        ]
        if fitting:
            waiting[bar].remove(fitting[0])
            pairs.append((row, fitting[0]))
        else:
            missing.append(row)
    return pairs, missing, sorted(row for rows in waiting.values() for row in rows)


@dataclass(frozen=True)
class _Comparison:
    mine: TradeList
    run: RunFolder
    entries: Integers
    exits: Integers
    convention: _Convention

    def pair(self, row: int, other: int) -> Iterator[TradeDifference]:
        """Yield how a matched trade differs: size, entry, exit, then what they cost."""
        trade, mine = self.run.trades.iloc[row], self.mine
        when = self._when(self.run.bars("entry_end")[row])
        size = float(mine.quantity[other])
        if not np.isnan(size) and size != trade["quantity"]:
            yield self._told(when, "quantity", "size", trade["quantity"], size, "the sizes differ")
        yield from self._price(when, "entry", trade, float(mine.entry_price[other]), trade["side"])
        ended = self.run.bars(self.convention.exit)[row]
        left, known = self.exits[other], not np.isnat(mine.exit[other])
        if known and left != ended:
            yield self._exit(when, trade, ended, other)
            return
        at = self._when(self.run.bars("exit_end")[row]) if ended != _NONE else when
        yield from self._price(at, "exit", trade, float(mine.exit_price[other]), -trade["side"])
        yield from self._costs(at, trade, other, size)

    def _price(
        self, when: str, which: str, trade: Any, price: float, side: float
    ) -> Iterator[TradeDifference]:
        own, tick = float(trade[f"{which}_price"]), float(self.run.provenance["instrument"]["tick_size"])
        if np.isnan(price) or np.isnan(own) or abs(price - own) <= tick / 2:
            return
        slipped = float(self.run.provenance["instrument"].get("slippage_ticks", 0.0)) * tick
        decided = "decision_end" if which == "entry" else "exit_decision_end"
        bar = int(self.run.bars(decided)[trade.name])
        if slipped and abs(price + side * slipped - own) <= tick / 2:
            why = f"your price lacks the slippage of {slipped:g} points"
        elif bar != _NONE and abs(price - self.run.close[bar]) <= tick / 2:
            why = "your price is the close of the bar that decided; the run fills at the next open"
        else:
            why = f"the prices are {abs(price - own):g} points apart"
        yield self._told(when, f"{which} price", "fill", own, price, why)

    def _exit(self, when: str, trade: Any, ended: int, other: int) -> TradeDifference:
        left = int(self.exits[other])
        reason = str(trade["exit_reason"]) or "no exit"
        cause = "exit"
        if reason == "session" or left == _NONE:
            cause = "session"
        why = f"the run left by {reason}" if ended != _NONE else "the run holds the trade at its last bar"
        if left == _NONE:
            why += "; the run has no bar at your exit"
        return self._told(
            when, "exit bar", cause, self._when(ended), self._spelled(self.mine.exit[other]), why
        )

    def _costs(self, when: str, trade: Any, other: int, size: float) -> Iterator[TradeDifference]:
        cost, pnl = float(self.mine.cost[other]), float(self.mine.net_pnl[other])
        own, net = float(trade["commission"]), float(trade["net_pnl"])
        if not np.isnan(cost):
            if abs(cost - own) > _CENT:
                yield self._told(when, "commission", "cost", own, cost, "entry and exit together")
            return
        fills = (self.mine.entry_price[other], self.mine.exit_price[other])
        if np.isnan(pnl) or trade["status"] != "closed" or abs(pnl - net) <= max(_CENT, 1e-6 * abs(net)):
            return
        gross = float(trade["gross_pnl"])
        if abs(pnl - gross) <= max(_CENT, 1e-6 * abs(gross)):
            why = f"yours is before the commission of {own:,.2f}"
        elif np.isnan(fills).any() or np.isnan(size):
            why = "your list has no prices or sizes to compare"
        else:
            multiplier = float(self.run.provenance["instrument"]["multiplier"])
            why = f"the run has a multiplier of {multiplier:g} and a commission of {own:,.2f}"
        yield self._told(when, "net P&L", "cost", net, pnl, why)

    def missing(self, row: int) -> TradeDifference:
        """Say why the list may lack a trade of the run."""
        trade, bar = self.run.trades.iloc[row], int(self.run.bars(self.convention.entry)[row])
        holding = np.flatnonzero((self.entries != _NONE) & (self.entries < bar) & (self.exits >= bar))
        if holding.size:
            other = int(holding[0])
            cause, why = "position", (
                f"your trade of {self._spelled(self.mine.entry[other])} was still open"
            )  # fmt: skip
        else:
            cause, why = "filter", "your rules or data saw no entry there, and the run's let it pass"
        when = self._when(self.run.bars("entry_end")[row])
        side = "long" if trade["side"] > 0 else "short"
        return self._told(when, MISSING_TRADE, cause, f"{side} at {trade['entry_price']:g}", "no trade", why)

    def extra(self, row: int) -> TradeDifference:
        """Say what the run decided where the list has a trade that it lacks."""
        bar, spelled = int(self.entries[row]), self._spelled(self.mine.entry[row])
        price = self.mine.entry_price[row]
        own = "a trade" if np.isnan(price) else f"a trade at {price:g}"
        if bar == _NONE:
            first, last = self._when(0), self._when(len(self.run.ends) - 1)
            inside = first <= spelled <= last
            why = "the run has no bar there" if inside else f"the run goes from {first} to {last}"
            return self._told(spelled, EXTRA, "session" if inside else "dates", "no trade", own, why)
        decided = bar if self.convention.decides else max(bar - 1, 0)
        code = int(self.run.decisions["code"].iloc[decided])
        reason = str(self.run.decisions["reason"].iloc[decided])
        return self._told(
            self._when(bar), EXTRA, _cause(code), "no trade", own,
            f"at {self._when(decided)} the run decided: {reason}",
        )  # fmt: skip

    def _when(self, bar: int) -> str:
        if bar == _NONE:
            return "still open"
        if self.run.daily:
            return str(self.run.dates[bar])
        return f"{np.datetime64(int(self.run.ends[bar]), 'ns').astype('datetime64[m]')}Z"

    def _spelled(self, stamp: Any) -> str:
        return str(stamp.astype("datetime64[D]")) if self.run.daily else f"{stamp.astype('datetime64[m]')}Z"

    @staticmethod
    def _told(when: str, what: str, cause: str, run: Any, mine: Any, sentence: str) -> TradeDifference:
        own, other = (each if isinstance(each, str) else f"{each:,.10g}" for each in (run, mine))
        return TradeDifference(when=when, what=what, cause=cause, run=own, mine=other, sentence=sentence)


def _cause(code: int) -> str:
    if code >= REFUSED:
        return "limits"
    if code >= FILTERED:
        return "filter"
    if code >= MISSING:
        return "warm-up"
    if code in (HOLD, EXIT_SESSION) or code not in _CAUSES:
        return "position"
    return _CAUSES[code]


def comparison_table(found: Compared, shown: int) -> TextTable:
    """Return the first differences, one row each."""
    table = TextTable("when", "what", "cause", number("run"), number("yours"), prose("why"))
    for each in found.differences[:shown]:
        table.add_row(each.when, each.what, each.cause, each.run, each.mine, each.sentence)
    return table


def summary_lines(found: Compared) -> Sequence[str]:
    """Return what came out in sentences: counts, how stamps were read, the first difference."""
    lines = [
        f"{found.mine} against {found.run}: {found.matched} matched, {found.equal} of them equal; "
        f"{found.missing} missing in yours, {found.extra} extra in yours",
        f"your entries are stamped with {found.convention}",
    ]
    if found.differences:
        first = found.differences[0]
        lines.append(
            f"first difference, {first.when}: {first.what} ({first.cause}): run {first.run}, yours "
            f"{first.mine}: {first.sentence}"
        )
    else:
        lines.append("both hold the same trades")
    return lines
