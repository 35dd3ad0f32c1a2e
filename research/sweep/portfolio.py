"""The compiled twin of a portfolio: what its lanes trade together, for very many sizes and limits.

What becomes of an entry depends neither on its size nor on what other lanes do, so that it is worked out once
a lane (`work.fates`). A portfolio then goes from bar set to bar set: fills, then marks, ranking and answers
by `lockstep.portfolio.kernels`, which Cerebro calls, too. Trades, equity and answers are those of
`run_portfolio`, bit for bit (`tests/contract/test_portfolio_twin.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import joblib
import numpy as np

from lockstep.errors import ConfigError
from lockstep.features.batch import BatchFeatures
from lockstep.features.feature_registry import default_registry
from lockstep.floats import require_exact
from lockstep.market.bars import Flags, Floats, Stamps
from lockstep.market.dates import DateRange
from lockstep.market.history import History, Market, SeriesKey
from lockstep.market.instrument import traded_symbol
from lockstep.market.margin import margin_on
from lockstep.market.sessions import Session
from lockstep.portfolio import rules
from lockstep.portfolio.config import PortfolioConfig, RankRule
from lockstep.portfolio.terms import DrawdownWindow, LaneTerms, PortfolioTerms, volatility_id
from lockstep.strategy.admission import REFUSALS
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.decision import IN_SESSION
from lockstep.strategy.matching import CASH, CLOSE, OPEN, POSITION
from lockstep.strategy.sizing import measures
from lockstep.strategy.step import vector_ids
from lockstep.strategy.veto import Veto
from research.sweep.inputs import Chances, Prepared
from research.sweep.kernels import SIDED
from research.sweep.portfolio_loop import (
    BAR,
    BAR_CLOSE,
    BAR_IN_SESSION,
    BAR_MEASURE,
    BAR_NEXT,
    BAR_OPEN,
    BAR_PROBABILITY,
    BAR_RISK,
    BAR_SCORE,
    BY_LANE,
    BY_PROBABILITY,
    BY_SCORE,
    DEEPEST_FALL,
    FILL,
    FILLS,
    IS_HALTED,
    LAST_EQUITY,
    MUST,
    PROPOSAL,
    STOPS,
    TOTALS,
    UNDER_WAY,
    FollowArguments,
    Places,
    follow,
)
from research.sweep.work import fates


@dataclass(frozen=True, kw_only=True, eq=False)
class PortfolioGround:
    """What no size and no limit changes: S bar sets of n lanes in D days, and what becomes of every entry.

    symbols     names of the lanes, sorted; strategies, vetoes, markets: by name, `None` without a veto
    stamps      int64 (S,): ends of the sets, UTC ns; day: (S,) days since 1970; days: (D,); session: (S,)
    rows        int32 (S, n), base: int64 (n,), bars and table: float64 (b, 8), see `follow`
    ids         of the volatility and of the score that `bars` hold, "" for none
    margin_of, margins   see `follow`
    """

    symbols: tuple[str, ...]
    strategies: Mapping[str, StrategyConfig]
    vetoes: Mapping[str, Veto | None]
    markets: Mapping[str, Market]
    calendar: Session
    stamps: Stamps
    day: Stamps
    days: Stamps
    session: Stamps
    rows: Places
    base: Stamps
    bars: Floats
    table: Floats
    ids: tuple[str, str]
    margin_of: Stamps
    margins: Floats

    @classmethod
    def of(
        cls,
        strategies: Mapping[str, StrategyConfig],
        histories: Mapping[str, History],
        calendar: Session,
        *,
        vetoes: Mapping[str, Veto] | None = None,
        answers: Mapping[str, Chances] | None = None,
        span: DateRange | None = None,
        volatility: str = "",
        score: str = "",
    ) -> Self:
        """Search the bars of each strategy, and carry out every entry; mappings are by the lanes' names.

        calendar   of the portfolio's days; span: session dates that are traded, as in `run_portfolio`
        answers    of lanes whose veto is not asked again, such as those of a walk-forward's models
        volatility, score   ids of the limit of volatility and of the ranking, "" for none

        ConfigError where a strategy does not read one of them.
        """
        symbols = tuple(sorted(strategies))
        known = {each: (vetoes or {}).get(each) for each in symbols}
        lanes = [
            _LaneGround.of(
                strategies[each], histories[each], traded_symbol(each), known[each],
                (answers or {}).get(each), span or DateRange(), volatility, score,
            )
            for each in symbols
        ]  # fmt: skip
        stamps = np.unique(np.concatenate([each.ends for each in lanes]))
        rows = np.full((stamps.size, len(lanes)), -1, dtype=np.int32)
        for place, each in enumerate(lanes):
            rows[np.searchsorted(stamps, each.ends), place] = np.arange(each.ends.size)
        day = calendar.dates(stamps).astype("datetime64[D]").astype(np.int64)
        days, session = np.unique(day, return_inverse=True)
        markets = {each: histories[each].markets[traded_symbol(each)].named(each) for each in symbols}
        declared = np.array(
            [[margin_on(markets[each].instrument.margin, int(one)) for each in symbols] for one in days]
        ).reshape(days.size, len(symbols), 2)
        changes = np.flatnonzero(
            np.concatenate(
                ([True], (np.nan_to_num(declared[1:]) != np.nan_to_num(declared[:-1])).any(axis=(1, 2)))
            )
        )
        return cls(
            symbols=symbols,
            strategies=dict(strategies),
            vetoes=known,
            markets=markets,
            calendar=calendar,
            stamps=stamps,
            day=day,
            days=days,
            session=session.astype(np.int64),
            rows=rows,
            base=np.cumsum([0, *(len(each.bars) for each in lanes[:-1])]).astype(np.int64),
            bars=np.concatenate([each.bars for each in lanes]),
            table=np.concatenate([each.fates for each in lanes]),
            ids=(volatility, score),
            margin_of=np.searchsorted(changes, session, side="right").astype(np.int64) - 1,
            margins=declared[changes],
        )


@dataclass(frozen=True, kw_only=True)
class _LaneGround:
    """One lane's bars: ends, int64 (b,), rows of `bars` and of `table`, float64 (b, 8)."""

    ends: Stamps
    bars: Floats
    fates: Floats

    @classmethod
    def of(
        cls, config: StrategyConfig, history: History, symbol: str, veto: Veto | None,
        chances: Chances | None, span: DateRange, volatility: str, score: str,
    ) -> Self:  # fmt: skip
        registry = default_registry()
        if veto is not None and chances is None:
            chances = Chances.of(veto, config, history, symbol)
        ids = vector_ids(config, veto)
        for each in (volatility, score):
            if each and each not in ids:
                raise ConfigError(
                    f"{symbol}: limits or ranking need {each}, which its strategy {config.name} does not "
                    "read; add it to the strategy's `features`"
                )
        # Every size has the fills of one contract; the vector stays what it is.
        one = config.replaced(size={"kind": "fixed", "contracts": 1}, features=config.feature_ids)
        one = chances.widened(one) if chances is not None else one
        prepared = Prepared(history, symbol, one, span, registry)
        rows, prices = prepared.ground.rows, prepared.ground.prices
        key = SeriesKey(symbol, config.bars)
        matrix = BatchFeatures(registry.plan(ids, key), history, max_age=config.max_age.limits).matrix[rows]
        bars = np.full((len(prices), BAR), math.nan)
        bars[:, BAR_CLOSE], bars[:, BAR_OPEN] = prices[:, CLOSE], prices[:, OPEN]
        unit = history.markets[symbol].instrument.multiplier
        if volatility:
            bars[:, BAR_RISK] = _last_known(matrix[:, ids.index(volatility)], prices[:, CLOSE], unit)
        sizing = config.sizing_rules(history.markets[symbol].instrument)
        bars[:, BAR_MEASURE] = measures(matrix, sizing)
        if chances is not None:
            bars[:, BAR_PROBABILITY] = chances.probability[rows]
        if score:
            bars[:, BAR_SCORE] = matrix[:, ids.index(score)]
        inside = prepared.readings(config)[:, IN_SESSION] != 0.0
        numbers = np.where(inside, np.arange(len(prices)), len(prices))
        following = np.minimum.accumulate(numbers[::-1])[::-1]
        bars[:, BAR_NEXT] = np.append(following[1:], len(prices))
        bars[:, BAR_IN_SESSION] = inside
        return cls(ends=prepared.ends, bars=bars, fates=fates(one, prepared, chances))


def _last_known(volatility: Floats, close: Floats, unit: float) -> Floats:
    """Return USD a year of one contract, float64 (n,), by the last volatility that was a number."""
    risk = volatility * np.abs(close) * unit
    known = np.maximum.accumulate(np.where(np.isnan(volatility), -1, np.arange(risk.size)))
    return np.where(known >= 0, risk[np.maximum(known, 0)], math.nan)


@dataclass(frozen=True, kw_only=True)
class PortfolioSweep:
    """What V portfolios came to; row v belongs to the v-th that was asked for.

    net_profit, max_drawdown   float64 (V,), USD: after the last set, and the deepest fall of the equity below
                               its highest before, capital included
    fills, stops               int64 (V,): fills, and days that a daily loss ended
    halted                     bool (V,): a drawdown ended all entries
    refusals                   int64 (V, rules): how many proposals each of `admission.REFUSALS` refused
    profits                    float64 (V, D): of each day, USD; (V, 0) where they were not asked for
    days                       int64 (D,): days since 1970
    """

    net_profit: Floats
    max_drawdown: Floats
    fills: Stamps
    stops: Stamps
    halted: Flags
    refusals: Stamps
    profits: Floats
    days: Stamps


@dataclass(frozen=True, kw_only=True)
class PortfolioTrace:
    """One portfolio set by set.

    fills       float64 (f, 5): lane, its bar, signed contracts, price, whether everything had to leave
    states      float64 (S, 9): the coordinator's after each set, see `lockstep.portfolio.rules`
    proposals   float64 (p, 9): set, place, lane, side, base, scale, admitted contracts, rule, margin
    """

    fills: Floats
    states: Floats
    proposals: Floats


def sweep_portfolio(
    ground: PortfolioGround,
    configs: Sequence[PortfolioConfig],
    *,
    jobs: int = -1,
    keep_profits: bool = False,
) -> PortfolioSweep:
    """Trade every portfolio, all of the strategies of `ground`, and return what each came to.

    jobs           threads; -1 for one per core
    keep_profits   also the profit of every day

    ConfigError where a portfolio has other lanes, days or ids than `ground`, or one that does not fit.
    """
    require_exact()
    count, days = len(configs), ground.days.size if keep_profits else 0
    totals, sessions = np.zeros((count, TOTALS)), np.zeros((count, days))
    refusals = np.zeros((count, len(REFUSALS)), dtype=np.int64)
    none, window = np.zeros((0, PROPOSAL)), _Windows(ground)

    def run(v: int) -> None:
        _follow(
            ground, configs[v], window, sessions[v], np.zeros((0, rules.STATE)), none[:, :FILL], none,
            refusals[v], totals[v],
        )  # fmt: skip

    with ThreadPoolExecutor(joblib.effective_n_jobs(jobs)) as pool:
        for _ in pool.map(run, range(count)):
            pass
    capital = np.array([each.capital for each in configs])
    before = np.concatenate((capital[:, None], sessions[:, :-1]), axis=1) if days else sessions
    return PortfolioSweep(
        net_profit=totals[:, LAST_EQUITY] - capital,
        max_drawdown=totals[:, DEEPEST_FALL],
        fills=totals[:, FILLS].astype(np.int64),
        stops=totals[:, STOPS].astype(np.int64),
        halted=totals[:, IS_HALTED] != 0.0,
        refusals=refusals,
        profits=sessions - before,
        days=ground.days,
    )


def trace_portfolio(ground: PortfolioGround, config: PortfolioConfig) -> PortfolioTrace:
    """Trade one portfolio and return all that happened; ConfigError as for a sweep."""
    require_exact()
    sets, entries = len(ground.stamps), int((ground.table[:, SIDED] != 0.0).sum())
    fills, proposals = np.zeros((2 * entries + 1, FILL)), np.zeros((entries + 1, PROPOSAL))
    states, totals = np.zeros((sets, rules.STATE)), np.zeros(TOTALS)
    refusals = np.zeros(len(REFUSALS), dtype=np.int64)
    proposed = _follow(
        ground, config, _Windows(ground), np.zeros(0), states, fills, proposals, refusals, totals
    )
    return PortfolioTrace(fills=fills[: int(totals[FILLS])], states=states, proposals=proposals[:proposed])


class _Windows:
    """First sessions of the windows of drawdowns, int64 (S,), by their lengths."""

    def __init__(self, ground: PortfolioGround) -> None:
        self._ground = ground
        self._known: dict[int, Stamps] = {}

    def first(self, window: int) -> Stamps:
        if window not in self._known:
            ground = self._ground
            firsts = DrawdownWindow(ground.calendar, window).first(ground.days) if window else ground.days
            self._known[window] = firsts[ground.session]
        return self._known[window]


def _follow(
    ground: PortfolioGround, config: PortfolioConfig, windows: _Windows, sessions: Floats, states: Floats,
    fills: Floats, proposals: Floats, refusals: Stamps, totals: Floats,
) -> int:  # fmt: skip
    first = windows.first
    given = follow_arguments(ground, config, first, sessions, states, fills, proposals, refusals, totals)
    found: int = follow(0, len(ground.stamps), *given)
    return found


def follow_alone(ground: PortfolioGround, config: PortfolioConfig) -> FollowArguments:
    """Return what `follow` takes to trade one portfolio of which nothing is kept set by set."""
    none = np.zeros((0, PROPOSAL))
    return follow_arguments(
        ground, config, _Windows(ground).first, np.zeros(0), np.zeros((0, rules.STATE)), none[:, :FILL], none,
        np.zeros(len(REFUSALS), dtype=np.int64), np.zeros(TOTALS),
    )  # fmt: skip


def follow_arguments(
    ground: PortfolioGround, config: PortfolioConfig, first_day: Callable[[int], Stamps], sessions: Floats,
    states: Floats, fills: Floats, proposals: Floats, refusals: Stamps, totals: Floats,
) -> FollowArguments:  # fmt: skip
    """Return what `follow` takes; ConfigError where the portfolio is not one of the ground.

    first_day   window of a drawdown -> the date of its first session at each set, int64 (S,)
    sessions ... totals   what is to be written, see `follow`
    """
    lanes = _lanes(ground, config)
    n, drawdown, capital = len(lanes), config.limits.drawdown, config.capital
    window = drawdown.window if drawdown else 0
    reserve = capital
    for each in lanes:
        reserve -= each.strategy.capital
    accounts = np.full((n, 5), math.nan)
    accounts[:, POSITION], accounts[:, CASH] = 0.0, [each.strategy.capital for each in lanes]
    rooms, under_way = np.zeros((n, rules.LANE)), np.full((n, UNDER_WAY), -1, dtype=np.int32)
    rooms[:, rules.CLOSE] = rooms[:, rules.RISK] = math.nan
    under_way[:, MUST] = 0
    state = np.array([-1.0, capital, capital, -math.inf, 0.0, 0.0, 0.0, 0.0, 0.0])
    return FollowArguments(
        ground.rows, ground.base, ground.day, first_day(window), ground.session, ground.margin_of,
        ground.margins, ground.bars, ground.table, tuple(each.market.instrument.costs for each in lanes),
        reserve, *PortfolioTerms.of(config, lanes), _of_other_arms(ground, lanes),
        *_ranking(config.rank, ground.symbols), accounts, rooms, state,
        np.zeros((window + 2 if window else 0, 2)), np.full((n, rules.NEWS), math.nan),
        np.zeros(n, dtype=np.int64), under_way, sessions, states, fills, proposals, refusals, totals,
    )  # fmt: skip


def _of_other_arms(ground: PortfolioGround, lanes: Sequence[LaneTerms]) -> Flags:
    """Return at which bars a signal belongs to the other arm of its lane's test, bool (b,), or (0,)."""
    if all(each.split is None for each in lanes):
        return np.zeros(0, dtype=np.bool_)
    return np.concatenate(
        [each.of_other_arm(ground.stamps[ground.rows[:, i] >= 0]) for i, each in enumerate(lanes)]
    )


def _lanes(ground: PortfolioGround, config: PortfolioConfig) -> list[LaneTerms]:
    """Return the terms of all lanes; ConfigError where the portfolio is not one of the ground."""
    if config.names != ground.symbols:
        raise ConfigError(
            f"portfolio {config.name}: lanes {', '.join(config.names)} on a ground of "
            f"{', '.join(ground.symbols)}; prepare it for these"
        )
    wanted = (volatility_id(config), config.rank.id)
    for asked, known in zip(wanted, ground.ids, strict=True):
        if asked not in ("", known):
            raise ConfigError(
                f"portfolio {config.name}: needs {asked}, the ground holds {known or 'none'}; prepare it "
                "with this id"
            )
    if config.day != ground.calendar.template.name:
        raise ConfigError(
            f"portfolio {config.name}: its days are those of {config.day}, the ground's of "
            f"{ground.calendar.template.name}; prepare it with these"
        )
    return [
        LaneTerms.of(config, ground.markets[each], ground.strategies[each], ground.vetoes[each])
        for each in ground.symbols
    ]


def _ranking(rank: RankRule, symbols: Sequence[str]) -> tuple[int, bool, Floats]:
    kinds = {"probability": BY_PROBABILITY, "score": BY_SCORE}
    listed = rank.by == "listed"
    numbers = [float(rank.order.index(traded_symbol(each))) if listed else 0.0 for each in symbols]
    return kinds.get(rank.by, BY_LANE), rank.smallest_first, np.array(numbers)
