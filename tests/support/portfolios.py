"""Several instruments of different sessions and timeframes in one Cerebro."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import numpy as np

from lockstep.features.batch import BatchFeatures
from lockstep.features.feature_registry import default_registry
from lockstep.market.bars import Bars
from lockstep.market.config import load_instruments
from lockstep.market.history import History, Market, SeriesKey
from lockstep.market.instrument import traded_symbol
from lockstep.market.margin import Margin
from lockstep.portfolio.config import PortfolioConfig
from lockstep.portfolio.terms import LaneTerms
from lockstep.strategy.admission import Admission, Admissions, LaneNews, LaneStanding, Settled
from lockstep.strategy.backtrader.cerebro import build_cerebro
from lockstep.strategy.backtrader.feed import bars_feed
from lockstep.strategy.backtrader.strategy import ParityStrategy
from lockstep.strategy.clock import SessionClock
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.decision import ENTER_LONG, ENTER_SHORT
from lockstep.strategy.families.ibs import IbsConfig
from lockstep.strategy.families.rules import RulesConfig
from lockstep.strategy.lane import Lane
from lockstep.strategy.records import MemoryRecorder
from lockstep.strategy.step import vector_ids
from lockstep.strategy.veto import Veto
from support.scenarios import make_bars
from support.spec_parity import Different, Logistic

BOOK = load_instruments()
VOLATILITY = "realised_vol_20_252"
SCORE = "momentum_z_5_10"
LEVELS = {
    "BTC-USD": 20_000.0,
    "CL": 60.0,
    "ES": 3_000.0,
    "GC": 1_500.0,
    "NQ": 8_000.0,
    "SPY": 300.0,
    "ZC": 400.0,
}
SIZES: tuple[Mapping[str, Any], ...] = (
    {"kind": "fixed", "contracts": 3},
    {"kind": "volatility", "target": 0.4},
)
BY_REGIME: Mapping[str, Any] = {
    "feature": "regime_10_0.5_1_15_0.8", "bull": 0.75, "bear": 0.5, "high_volatility": 0.0
}  # fmt: skip


def bars_of(symbol: str, timeframe: str, count: int, seed: int) -> Bars:
    """Return `count` bars of the instrument's own session; hourly ones also when the market is closed.

    Hourly bars begin when the windows of daily ones are full: then they trade side by side.
    """
    market, random = BOOK.markets[symbol], np.random.default_rng(seed)
    start = np.datetime64("2019-01-02" if timeframe == "1d" else "2019-02-18", "D")
    if timeframe == "1d":
        dates = market.session.scheduled_dates(start, start + np.timedelta64(3 * count + 30, "D"))
        ends = market.session.nominal_close(dates[:count]).view("M8[ns]")
    else:
        ends = start.astype("M8[ns]") + np.arange(1, count + 1) * np.timedelta64(1, "h")
    level, tick = LEVELS[symbol], market.instrument.tick_size
    close = level * np.exp(np.cumsum(random.normal(0, 0.01, count)))
    opened = close * np.exp(random.normal(0, 0.006, count))
    high = np.maximum(opened, close) * (1 + np.abs(random.normal(0, 0.004, count)))
    low = np.minimum(opened, close) * (1 - np.abs(random.normal(0, 0.004, count)))
    prices = np.round(np.column_stack([opened, high, low, close]) / tick) * tick
    config = IbsConfig(name="x", timeframe=timeframe)
    return make_bars(prices.tolist(), ends, symbol=symbol, timeframe=config.bars)


def config_of(timeframe: str, seed: int, **changes: Any) -> IbsConfig:
    """Return a strategy that trades often, its size by `seed`."""
    settings: dict[str, Any] = {
        "name": "lane", "timeframe": timeframe, "direction": "both", "entry": [0.0, 0.3], "exit": [0.7, 1.0],
        "short_entry": [0.75, 1.0], "short_exit": [0.0, 0.3], "stop": {"percent": 1.5},
        "target": {"percent": 2.5}, "max_bars": 6, "size": SIZES[seed % 2], "features": [VOLATILITY],
        "capital": 1_000_000.0,
    }  # fmt: skip
    return IbsConfig.model_validate(settings | changes)


def spec_of(timeframe: str, seed: int) -> RulesConfig:
    """Return a spec that trades often: what `config_of` trades, in conditions, and a weighted sum."""
    settings: dict[str, Any] = {
        "name": "spec", "timeframe": timeframe,
        "score": [{"id": "ibs", "weight": 1}, {"id": SCORE, "weight": 0.1}],
        "long_entry": {"any": [{"id": "ibs", "below": 0.25}, {"id": "score", "below": 0.2}]},
        "short_entry": {"all": [{"id": "ibs", "above": 0.7}, {"id": "score", "above": 0.5}]},
        "long_exit": {"id": "ibs", "above": 0.6}, "short_exit": {"id": "ibs", "below": 0.4},
        "stop": {"percent": 2.0}, "max_bars": 5, "size": SIZES[seed % 2], "features": [VOLATILITY, SCORE],
        "capital": 1_000_000.0,
    }  # fmt: skip
    return RulesConfig.model_validate(settings)


def veto_of(seed: int) -> Veto:
    """Return a model that refuses some entries; every other one must be asked bar by bar."""
    at_once = seed % 2 == 0
    model = Logistic() if at_once else Different()
    return Veto(model=model, feature_ids=("zscore_20", "ibs"), threshold=0.8, in_batches=at_once)


@dataclass(frozen=True, kw_only=True)
class World:
    """Bars and a strategy of each lane, by its name; members of an ensemble trade one instrument.

    score   id by which some portfolios rank
    """

    history: History
    configs: Mapping[str, StrategyConfig]
    factors: Mapping[str, float] = field(default_factory=dict)
    vetoes: Mapping[str, Veto] = field(default_factory=dict)
    score: str = VOLATILITY

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(sorted(self.configs))

    def lane(self, symbol: str) -> Lane:
        config, market = self.configs[symbol], self.market(symbol)
        key = SeriesKey(traded_symbol(symbol), config.bars)
        veto = self.vetoes.get(symbol)
        plan = default_registry().plan(vector_ids(config, veto), key)
        return Lane(
            feed=bars_feed(self.traded(symbol), name=symbol),
            market=market,
            config=config,
            source=BatchFeatures(plan, self.history, max_age=config.max_age.limits),
            clock=SessionClock(market.session, config.bars, config.auto_close),
            recorder=MemoryRecorder(),
            veto=veto,
            factor=self.factors.get(symbol, 1.0),
        )

    def traded(self, symbol: str) -> Bars:
        """Return the bars that a lane trades."""
        return self.history.series(SeriesKey(traded_symbol(symbol), self.configs[symbol].bars))

    def market(self, symbol: str) -> Market:
        """Return the market of a lane, under its name."""
        return self.history.markets[traded_symbol(symbol)].named(symbol)

    @property
    def markets(self) -> dict[str, Market]:
        """The markets of all symbols, and of all lanes under their names."""
        return {**self.history.markets, **{each: self.market(each) for each in self.symbols}}

    def together(
        self, admissions: Admissions | None, *, live: bool = False, symbols: Sequence[str] = ()
    ) -> dict[str, MemoryRecorder]:
        """Run all lanes in one Cerebro and return what each recorded."""
        lanes = [self.lane(each) for each in symbols or self.symbols]
        build_cerebro(lanes, ParityStrategy, live=live, admissions=admissions).run()
        return {lane.market.instrument.symbol: recorder_of(lane) for lane in lanes}

    def alone(self, symbol: str) -> MemoryRecorder:
        lane = self.lane(symbol)
        build_cerebro([lane], ParityStrategy).run()
        return recorder_of(lane)


def world(seed: int, chosen: Mapping[str, tuple[str, int]], **changes: Any) -> World:
    """Return a world of `name -> (timeframe, number of bars)`.

    Lanes of one symbol, such as `ES#a` and `ES#b`, have sizes of one kind, and one series a timeframe: of as
    many bars as the first of them asks for.
    """
    bars: dict[SeriesKey, Bars] = {}
    configs: dict[str, StrategyConfig] = {}
    kinds: dict[str, int] = {}
    for place, (name, (timeframe, count)) in enumerate(sorted(chosen.items())):
        symbol = traded_symbol(name)
        entry = [0.0, 0.3] if symbol == name else [0.0, round(0.2 + 0.04 * place, 2)]
        kind = kinds.setdefault(symbol, seed + place)
        configs[name] = config_of(timeframe, kind, **{"entry": entry, **changes})
        key = SeriesKey(symbol, configs[name].bars)
        if key not in bars:
            bars[key] = bars_of(symbol, timeframe, count, 100 * seed + place)
    markets = {each: BOOK.markets[each] for each in {key.symbol for key in bars}}
    return World(history=History(bars=bars, markets=markets), configs=configs)


def mixed_world(seed: int, chosen: Mapping[str, tuple[str, int]]) -> World:
    """Return a world of declared margins, by seed of three kinds.

    One of `config_of` alone; one in which every other lane is a spec and some lanes are behind a model; one
    in which every lane is behind a model, so that probabilities can rank. A third of the lanes trade smaller
    in some regimes.
    """
    kind, plain = seed % 3, world(seed, chosen, features=[VOLATILITY, SCORE])
    specs = {
        symbol: spec_of(chosen[symbol][0], int(plain.configs[symbol].size.kind != "fixed"))
        for place, symbol in enumerate(plain.symbols)
        if kind and (place + kind) % 2
    }
    vetoes = {
        symbol: veto_of(place)
        for place, symbol in enumerate(plain.symbols)
        if kind == 2 or (kind == 1 and place % 3 == 0)
    }
    configs = {**plain.configs, **specs}
    for place, symbol in enumerate(plain.symbols):
        if (place + seed) % 3 == 1:
            size = configs[symbol].size.model_dump() | {"by_regime": BY_REGIME}
            configs[symbol] = configs[symbol].replaced(size=size)
    return with_margins(replace(plain, configs=configs, vetoes=vetoes, score=SCORE if kind else VOLATILITY))


def recorder_of(lane: Lane) -> MemoryRecorder:
    assert isinstance(lane.recorder, MemoryRecorder)
    return lane.recorder


def recorded(recorder: MemoryRecorder) -> dict[str, Any]:
    """Return everything that a lane recorded, comparable to the bit.

    Order references are numbered per process: what counts is their order among those of the lane.
    """
    ranks = {each: place for place, each in enumerate(sorted({order.reference for order in recorder.orders}))}
    return {
        "stamps": recorder.stamps,
        "vectors": np.array(recorder.vectors).tobytes(),
        "probabilities": np.array(recorder.probabilities).tobytes(),
        "decisions": list(zip(recorder.codes, recorder.reasons, strict=True)),
        "orders": [repr(replace(order, reference=ranks[order.reference])) for order in recorder.orders],
        "trades": [repr(trade) for trade in recorder.trades],
        "marks": [repr(mark) for mark in recorder.marks],
    }


@dataclass
class AdmitAll:
    """Admits every proposal as it is, and keeps what it was told."""

    symbols: tuple[str, ...]
    volatility_id: str = VOLATILITY
    rank_id: str = ""
    stamps: list[int] = field(default_factory=list)
    proposed: list[tuple[str, float]] = field(default_factory=list)

    def settle(
        self, stamp: int, news: Sequence[LaneNews | None], standing: Sequence[LaneStanding]
    ) -> Settled:
        self.stamps.append(stamp)
        answers = [self.answer(symbol, each) for symbol, each in zip(self.symbols, news, strict=True)]
        return Settled(answers, flatten=False)

    def answer(self, symbol: str, news: LaneNews | None) -> Admission | None:
        if news is None or news.quantity == 0.0:
            return None
        self.proposed.append((symbol, news.quantity))
        return Admission(ENTER_LONG if news.quantity > 0.0 else ENTER_SHORT, news.quantity)


def margins(factor: float) -> tuple[Margin, ...]:
    """Return margins that grow within the dates of `bars_of`; declared by nobody but this test."""
    return tuple(
        Margin(
            since=since, initial=amount * factor, overnight=0.8 * amount * factor, source="made up for a test"
        )
        for since, amount in ((date(2019, 2, 12), 4_000.0), (date(2019, 3, 1), 9_000.0))
    )


def with_margins(given: World) -> World:
    """Return the world with margins for each instrument."""
    markets = {
        symbol: replace(
            each, instrument=each.instrument.model_copy(update={"margin": margins(1.0 + 0.3 * place)})
        )
        for place, (symbol, each) in enumerate(sorted(given.history.markets.items()))
    }
    return replace(given, history=replace(given.history, markets=markets))


def lanes_of(given: World) -> dict[str, list[str]]:
    """Return the names of the lanes that trade each symbol, sorted."""
    found: dict[str, list[str]] = {}
    for name in given.symbols:
        found.setdefault(traded_symbol(name), []).append(name)
    return found


def portfolio_of(given: World, **settings: Any) -> PortfolioConfig:
    """Return a portfolio over all lanes of a world: 2 units of a fixed size, equal weights of others."""
    lanes = []
    for symbol, names in lanes_of(given).items():
        fixed = given.configs[names[0]].size.kind == "fixed"
        lane = {"symbol": symbol, "units": 2 * len(names)} if fixed else {
            "symbol": symbol, "weight": len(names) / len(given.configs)}  # fmt: skip
        members = [
            {"name": name.partition("#")[2], "strategy": f"{name}.yaml", "share": 1 / len(names)}
            for name in names
        ]
        lanes.append(lane | ({"strategy": "drawn.yaml"} if names == [symbol] else {"members": members}))
    content: dict[str, Any] = {"name": "drawn", "capital": 1_000_000.0, "day": "CME", "lanes": lanes}
    return PortfolioConfig.model_validate(content | settings)


def with_arms(config: PortfolioConfig, seed: int) -> PortfolioConfig:
    """Return the portfolio with arms of A/B tests: two members of each ensemble, or one lane alone."""
    content = config.model_dump()
    for lane in content["lanes"]:
        for member, arm in zip(lane.get("members", ()), ("challenger", "champion"), strict=False):
            member["split"] = {"test": f"drawn {seed}", "arm": arm}
    if not any(lane.get("members") for lane in content["lanes"]):
        content["lanes"][seed % len(content["lanes"])]["split"] = {"test": "drawn", "arm": "champion"}
    return PortfolioConfig.model_validate(content)


def drawn_portfolio(given: World, seed: int) -> PortfolioConfig:
    """Return a portfolio of which each limit is on or off; every other one has arms of a test."""
    random = np.random.default_rng(seed)
    symbols = tuple(lanes_of(given))
    n = len(symbols)

    def maybe(value: Any) -> Any:
        return value if random.random() < 0.5 else None

    def uniform(low: float, high: float) -> float:
        return float(random.uniform(low, high))

    limits: dict[str, Any] = {
        "max_positions": maybe(int(random.integers(1, n + 1))),
        "max_total_contracts": maybe(int(random.integers(2, 12))),
        "max_gross": maybe(uniform(0.2, 1.5)),
        "max_net": maybe(uniform(0.1, 1.0)),
        "max_margin": maybe(uniform(0.01, 0.1)),
        "daily_loss": maybe({"fraction": uniform(0.001, 0.006), "flatten": bool(random.integers(2))}),
        "drawdown": maybe(
            {
                "window": int(random.integers(3, 40)),
                "tiers": [{"at": 0.002, "scale": 0.6}, {"at": 0.005, "scale": 0.3}],
                "release": uniform(0.3, 1.0),
                "halt": maybe(uniform(0.006, 0.015)),
            }
        ),
    }
    settings: dict[str, Any] = {"limits": limits}
    if random.random() < 0.5:
        factors = random.normal(size=(n, 3 * n))
        matrix = np.corrcoef(factors + uniform(0, 1.5) * random.normal(size=3 * n))
        matrix[np.diag_indices(n)] = 1.0
        settings["correlation"] = {"symbols": symbols, "matrix": ((matrix + matrix.T) / 2).tolist()}
        limits["volatility"] = {"target": uniform(0.03, 0.3), "id": VOLATILITY}
    if random.random() < 0.5:
        settings["groups"] = {"some": {"symbols": symbols[: n // 2 + 1], "max_positions": 1},
                              "others": {"symbols": symbols[1:], "max_gross": uniform(0.2, 1.0)}}  # fmt: skip
    ranks = [
        {"by": "symbol"},
        {"by": "listed", "order": list(random.permutation(symbols)), "top": maybe(1)},
        {"by": "score", "id": given.score, "smallest_first": bool(random.integers(2)), "top": maybe(2)},
    ]
    if set(given.vetoes) == set(given.symbols):
        ranks[:2] = [{"by": "probability", "top": maybe(1)}]
    settings["rank"] = ranks[int(random.integers(len(ranks)))]
    config = portfolio_of(given, **settings)
    return with_arms(config, seed) if seed % 2 else config


def terms_of(given: World, config: PortfolioConfig) -> list[LaneTerms]:
    return [
        LaneTerms.of(config, given.market(each), given.configs[each], given.vetoes.get(each))
        for each in given.symbols
    ]


def run_portfolio_by(
    given: World, config: PortfolioConfig, admissions: Admissions, **how: Any
) -> dict[str, MemoryRecorder]:
    """Run the world's lanes with the sizes of `config`, their entries admitted by `admissions`."""
    factors = {each.symbol: each.factor for each in terms_of(given, config)}
    return replace(given, factors=factors).together(admissions, **how)
