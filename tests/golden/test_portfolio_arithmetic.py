"""The arithmetic of a portfolio: cases computed by hand, and a slow second implementation of the rules."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from lockstep.market.history import Market
from lockstep.market.margin import margin_on
from lockstep.portfolio.config import PortfolioConfig
from lockstep.portfolio.coordinator import Coordinator
from lockstep.portfolio.terms import LaneTerms
from lockstep.strategy import decision as d
from lockstep.strategy.admission import REFUSALS, LaneNews, LaneStanding, Settled
from lockstep.strategy.families.ibs import IbsConfig
from lockstep.strategy.matching import opening_account
from support import portfolios
from support.portfolio_oracle import PortfolioOracle
from support.portfolios import BOOK, VOLATILITY, MemoryRecorder, margins

pytestmark = pytest.mark.uncompiled

CME = BOOK.session_named("CME")
DATES = CME.scheduled_dates(np.datetime64("2024-01-02"), np.datetime64("2024-03-28"))
CLOSES = CME.nominal_close(DATES)
STRATEGY = IbsConfig.model_validate({"name": "ibs", "capital": 100_000.0, "features": [VOLATILITY]})
NAN = math.nan
FLAT = LaneStanding(opening_account(100_000.0), False)


def coordinator(
    *symbols: str, strategy: IbsConfig = STRATEGY, lane: dict[str, Any] | None = None, **settings: Any
) -> Coordinator:
    """Return the coordinator of a capital of 200,000 USD in which each symbol trades 2 units."""
    lanes = [{"symbol": each, "strategy": "ibs.yaml", **(lane or {"units": 2})} for each in symbols]
    content = {"name": "desk", "capital": 200_000, "day": "CME", "lanes": lanes, **settings}
    config = PortfolioConfig.model_validate(content)
    terms = [LaneTerms.of(config, BOOK.market(each), strategy) for each in config.symbols]
    return Coordinator(config, terms, CME)


def news(close: float, quantity: float = 0.0, volatility: float = NAN, **more: float) -> LaneNews:
    return LaneNews(close, volatility, more.get("measure", 0.0), more.get("probability", NAN),
                    more.get("score", NAN), quantity)  # fmt: skip


def holding(position: float, entry: float, cash: float = 100_000.0) -> LaneStanding:
    return LaneStanding((position, entry, NAN, NAN, cash), False)


def answers(settled: Settled) -> list[Any]:
    """Return contracts of what is admitted, the rule of what is refused, None where nothing was proposed."""
    return [
        None if each is None else REFUSALS[each.code - d.REFUSED] if each.code >= d.REFUSED else each.quantity
        for each in settled.admissions
    ]


def day_after_day(made: Coordinator, equities: Sequence[float]) -> list[tuple[float, float, bool, bool]]:
    """Hold one ES from 5,000 so that the equity of the portfolio is as given at the close of each session."""
    found = []
    for stamp, equity in zip(CLOSES.tolist(), equities, strict=False):
        close = 5_000.0 + (equity - 200_000.0) / 50.0
        made.settle(stamp, [news(close)], [holding(1.0, 5_000.0)])
        state = made.state
        assert state.equity == equity
        found.append((state.drawdown, made.scale, state.stopped, state.halted))
    return found


def test_reserve_equity_and_room_by_hand() -> None:
    """200,000 of capital, two accounts of 100,000: the reserve is 0. Long 2 ES, +10 points: +1,000."""
    made = coordinator("ES", "NQ", limits={"max_gross": 5.0})
    both = [news(5_010.0), news(17_000.0, 1.0)]
    settled = made.settle(int(CLOSES[0]), both, [holding(2.0, 5_000.0), FLAT])
    assert made.state.equity == 201_000.0
    assert answers(settled) == [None, 2.0]
    # 2 NQ are 680,000 USD; the 2 ES were never proposed here, so they take no room before they are restored.
    assert [each.room for each in made.state.lanes] == [0.0, 2.0]
    assert not settled.flatten


def test_equities_are_added_in_the_order_of_the_symbols() -> None:
    """Beside 1e17 the 3 USD of the first account are less than half a unit in the last place, which is 16."""
    made = coordinator("CL", "ES", "NQ", limits={"max_positions": 3})
    cash = [LaneStanding(opening_account(each), False) for each in (3.0, 1e17, -1e17)]
    made.settle(int(CLOSES[0]), [news(70.0), news(5_000.0), news(17_000.0)], cash)
    # The reserve is -100,000. Added the other way round the 3 would come last, and stay.
    assert made.state.equity == -100_000.0


def test_room_is_taken_while_an_entry_waits_and_freed_when_the_exit_has_filled() -> None:
    made = coordinator("CL", "ES", limits={"max_positions": 1})
    waits = LaneStanding(opening_account(100_000.0), True)
    proposes = [news(70.0), news(5_000.0, 1.0)]
    first, *rest = CLOSES.tolist()
    assert answers(made.settle(first, [news(70.0, 1.0), news(5_000.0)], [FLAT, FLAT])) == [2.0, None]
    # The entry waits; then it is held; then its exit waits, with the position still there; then it is gone.
    for stamp, stands in zip(rest, (waits, holding(2.0, 70.0), holding(2.0, 70.0)), strict=False):
        assert answers(made.settle(stamp, proposes, [stands, FLAT])) == [None, "positions"]
    assert answers(made.settle(rest[3], proposes, [FLAT, FLAT])) == [None, 2.0]


def test_an_entry_that_was_withdrawn_frees_its_room_at_the_next_set() -> None:
    made = coordinator("CL", "ES", limits={"max_positions": 1})
    assert answers(made.settle(int(CLOSES[0]), [news(70.0, 1.0), news(5_000.0, 1.0)], [FLAT, FLAT])) == [
        2.0,
        "positions",
    ]
    assert answers(made.settle(int(CLOSES[1]), [None, news(5_000.0, 1.0)], [FLAT, FLAT])) == [None, 2.0]


def test_drawdown_tiers_and_release_by_hand() -> None:
    """Of 200,000: 5 % are 10,000. The tier ends below half of it, 5,000, and not at 5,000."""
    tiers = [{"at": 0.05, "scale": 0.5}, {"at": 0.1, "scale": 0.25}]
    made = coordinator("ES", limits={"drawdown": {"window": 252, "tiers": tiers}})
    found = day_after_day(
        made, [200_000, 204_000, 194_050, 194_000, 184_000, 193_950, 195_000, 199_000, 199_050]
    )
    assert [round(each[0], 6) for each in found] == [0, 0, 0.04975, 0.05, 0.1, 0.05025, 0.045, 0.025, 0.02475]
    assert [each[1] for each in found] == [1, 1, 1, 0.5, 0.25, 0.25, 0.5, 0.5, 1]


def test_the_peak_leaves_with_its_window() -> None:
    """A window of three sessions: the first day's high counts on days 1 to 3. An all-time peak would stay."""
    made = coordinator("ES", limits={"drawdown": {"window": 3, "halt": 0.9}})
    found = day_after_day(made, [210_000, 200_000, 201_000, 199_000, 199_000, 199_000, 200_000])
    assert [round(each[0], 6) for each in found] == [0, 0.05, 0.045, 0.01, 0.01, 0.0, 0.0]


def test_a_halt_stays_until_it_is_ended() -> None:
    made = coordinator("ES", limits={"drawdown": {"window": 3, "halt": 0.05}})
    found = day_after_day(made, [200_000, 189_950, 200_000, 220_000])
    assert [each[3] for each in found] == [False, True, True, True]
    flat = LaneStanding(opening_account(120_000.0), False)
    assert answers(made.settle(int(CLOSES[4]), [news(5_000.0, 1.0)], [flat])) == ["halted"]
    made.resume()
    assert answers(made.settle(int(CLOSES[5]), [news(5_000.0, 1.0)], [flat])) == [2.0]


def test_a_loss_stops_the_day_of_the_calendar_and_not_that_of_utc() -> None:
    """2 % of 200,000 are 4,000, from the last set of the day before. 23:00 UTC is the next session."""
    made = coordinator("ES", "NQ", limits={"daily_loss": {"fraction": 0.02, "flatten": True}})
    hour = 3_600_000_000_000
    close = int(CLOSES[3])  # 17:00 in New York, 22:00 UTC
    assert np.datetime64(close, "ns") == np.datetime64("2024-01-05T22:00")
    steps = [
        (close - 2 * hour, 5_000.0, False, 2.0),
        (close, 4_960.5, False, 2.0),  # -3,950 in the session, but it is the first: baseline is the capital
        (
            int(CLOSES[4]) - 45 * hour // 2,
            4_900.0,
            True,
            "daily_loss",
        ),  # Sunday evening: next session, -6,050
        (int(CLOSES[4]) - hour, 5_500.0, False, "daily_loss"),  # recovered, and still the same day
        (int(CLOSES[4]) + 3 * hour // 2, 5_500.0, False, 2.0),  # 18:30 in New York, the next session
    ]
    for stamp, price, flatten, answer in steps:
        settled = made.settle(stamp, [news(price), news(17_000.0, 1.0)], [holding(2.0, 5_000.0), FLAT])
        assert (settled.flatten, answers(settled)[1]) == (flatten, answer), stamp


def test_one_cent_less_than_the_limit_is_no_loss() -> None:
    for price, stopped in ((4_960.0, True), (4_960.25, False)):
        made = coordinator("ES", limits={"daily_loss": {"fraction": 0.02}})
        made.settle(int(CLOSES[0]), [news(price)], [holding(2.0, 5_000.0)])
        assert made.state.stopped is stopped


def test_a_scaled_size_is_rounded_down_once() -> None:
    """3.9 contracts at half the size are 1, 2.9 at .7 are 2: a size rounded before would give 1."""
    by_risk = STRATEGY.replaced(
        size={"kind": "risk", "risk": 0.01, "feature": "atr_14"}, features=[VOLATILITY]
    )
    # weight 1: the amount is 1 % of 200,000; risk of one ES = measure x 50.
    for wanted, at, scale, contracts in ((3.9, 0.05, 0.5, 1.0), (2.9, 0.05, 0.7, 2.0), (2.9, 0.9, 0.7, 2.0)):
        limits = {"drawdown": {"window": 9, "tiers": [{"at": at, "scale": scale}]}}
        made = coordinator("ES", strategy=by_risk, lane={"weight": 1.0}, limits=limits)
        measure = 2_000.0 / 50.0 / wanted
        day_after_day(made, [200_000, 189_000])
        flat = LaneStanding(opening_account(89_000.0), False)
        asked = news(5_000.0, math.floor(wanted), measure=measure)
        assert answers(made.settle(int(CLOSES[2]), [asked], [flat])) == [contracts]
        assert made.take().proposals[0].base == math.floor(wanted)  # type: ignore[union-attr]
    made = coordinator("ES", strategy=by_risk, lane={"weight": 1.0},
                       limits={"drawdown": {"window": 9, "tiers": [{"at": 0.05, "scale": 0.5}]}})  # fmt: skip
    day_after_day(made, [200_000, 189_000])
    asked = news(5_000.0, 1.0, measure=2_000.0 / 50.0 / 1.9)
    assert answers(
        made.settle(int(CLOSES[2]), [asked], [LaneStanding(opening_account(89_000.0), False)])
    ) == ["scale"]


def test_volatility_of_the_rooms_by_hand() -> None:
    """2 ES at 5,000 and 20 % are 100,000 USD a year; 2 NQ at 10,000 and 25 % too. Of 200,000 with correlation
    .28: sqrt(1 + 1 + .56) = 1.6 times 100,000, 80 % of the capital."""
    for target, answer in ((0.8001, 2.0), (0.7999, "volatility")):
        made = coordinator(
            "ES", "NQ", limits={"volatility": {"target": target}},
            correlation={"symbols": ["NQ", "ES"], "matrix": [[1, 0.28], [0.28, 1]]},
        )  # fmt: skip
        both = [news(5_000.0, 1.0, 0.2), news(10_000.0, 1.0, 0.25)]
        assert answers(made.settle(int(CLOSES[0]), both, [FLAT, FLAT])) == [2.0, answer]
        short = [news(5_000.0, 1.0, 0.2), news(10_000.0, -1.0, 0.25)]
        hedged = coordinator(
            "ES", "NQ", limits={"volatility": {"target": target}},
            correlation={"symbols": ["NQ", "ES"], "matrix": [[1, 0.28], [0.28, 1]]},
        )  # fmt: skip
        assert answers(hedged.settle(int(CLOSES[0]), short, [FLAT, FLAT])) == [2.0, -2.0]


def test_a_volatility_that_was_never_known_is_refused_and_the_last_one_holds() -> None:
    made = coordinator(
        "ES", limits={"volatility": {"target": 9.0}}, correlation={"symbols": ["ES"], "matrix": [[1]]}
    )
    for stamp, volatility, answer in zip(
        CLOSES.tolist(), (NAN, 0.2, NAN), ("unknown", 2.0, 2.0), strict=False
    ):
        assert answers(made.settle(stamp, [news(5_000.0, 1.0, volatility)], [FLAT])) == [answer]


def test_margins_by_hand() -> None:
    """What is held needs 0.8 x 9,000 a contract, what is proposed 9,000: 2 and 2 are 32,400 of 200,000."""
    es, nq = (
        BOOK.market(each).instrument.model_copy(update={"margin": margins(1.0)}) for each in ("ES", "NQ")
    )
    for cap, answer in ((0.163, 2.0), (0.161, "margin")):
        config = coordinator("ES", "NQ", limits={"max_margin": cap}).config
        terms = [LaneTerms.of(config, Market(instrument=each, session=CME), STRATEGY) for each in (es, nq)]
        made = Coordinator(config, terms, CME)
        assert answers(made.settle(int(CLOSES[0]), [news(5_000.0, 1.0), None], [FLAT, FLAT])) == [2.0, None]
        settled = made.settle(int(CLOSES[1]), [None, news(17_000.0, 1.0)], [holding(2.0, 5_000.0), FLAT])
        assert answers(settled) == [None, answer]
        assert made.take().proposals[0].margin == 2 * 7_200 + 2 * 9_000  # type: ignore[union-attr]
    day = int(DATES[0].astype(np.int64))
    assert margin_on(es.margin, day) == (9_000.0, 7_200.0)
    assert all(map(math.isnan, margin_on(es.margin, 0)))


def test_a_negative_price_counts_by_its_size() -> None:
    """20 April 2020: two CL at -37.63 are 75,260 USD of gross value."""
    for limit, answer in ((0.3764, 2.0), (0.3762, "gross")):
        made = coordinator("CL", limits={"max_gross": limit})
        assert answers(made.settle(int(CLOSES[0]), [news(-37.63, 1.0)], [FLAT])) == [answer]


def test_ranks_by_hand() -> None:
    symbols = ("CL", "ES", "GC", "NQ")
    four = [news(70.0, 1.0, score=2.0), news(5_000.0, 1.0, score=NAN), news(2_000.0, 1.0, score=2.0),
            news(17_000.0, -1.0, score=3.0)]  # fmt: skip
    read = STRATEGY.replaced(features=[VOLATILITY, "rsi_2"])
    for rank, admitted in (
        ({}, [0, 1]),
        ({"by": "listed", "order": ["NQ", "GC", "ES", "CL"]}, [3, 2]),
        ({"by": "score", "id": "rsi_2"}, [3, 0]),
        ({"by": "score", "id": "rsi_2", "smallest_first": True}, [0, 2]),
    ):
        made = coordinator(*symbols, strategy=read, rank={**rank, "top": 2})
        found = answers(made.settle(int(CLOSES[0]), four, [FLAT] * 4))
        assert [i for i, each in enumerate(found) if isinstance(each, float)] == sorted(admitted)
        assert [symbols.index(each.symbol) for each in made.take().proposals[:2]] == admitted  # type: ignore[union-attr]
        rest = {each for each in found if isinstance(each, str)}
        assert rest == ({"rank", "unknown"} if rank.get("by") == "score" else {"rank"})


def test_a_set_is_told_once_and_comes_after_the_one_before() -> None:
    made = coordinator("ES")
    made.settle(int(CLOSES[0]), [news(5_000.0, 1.0)], [FLAT])
    assert made.take() is not None
    assert made.take() is None
    with pytest.raises(Exception, match=r"comes after .*sets are settled once"):
        made.settle(int(CLOSES[0]), [news(5_000.0, 1.0)], [FLAT])


@dataclass
class Both:
    """Asks a coordinator and the slow implementation, and holds one against the other at every set.

    At a set in `again` the coordinator is made anew from its state, as at a restart.
    """

    fast: Coordinator
    slow: PortfolioOracle
    again: int = 0
    rules: list[str] = field(default_factory=list)
    flattened: int = 0
    sets: int = 0

    def __post_init__(self) -> None:
        self.symbols, self.volatility_id, self.rank_id = (
            self.fast.symbols,
            self.fast.volatility_id,
            self.fast.rank_id,
        )
        assert (self.symbols, self.volatility_id, self.rank_id) == (
            self.slow.symbols, self.slow.volatility_id, self.slow.rank_id,
        )  # fmt: skip

    def settle(
        self, stamp: int, told: Sequence[LaneNews | None], standing: Sequence[LaneStanding]
    ) -> Settled:
        self.sets += 1
        if self.again and self.sets % self.again == 0:
            self.fast = Coordinator(self.fast.config, self.slow.lanes, self.slow.session, self.fast.state)
        fast, slow = self.fast.settle(stamp, told, standing), self.slow.settle(stamp, told, standing)
        assert answers(fast) == answers(slow), stamp
        assert fast.flatten == slow.flatten
        state = self.fast.state
        assert state.equity == pytest.approx(self.slow.equity, rel=1e-12)
        assert abs(Fraction(state.equity) - self.slow.exact) < Fraction(1, 10_000)
        assert state.drawdown == pytest.approx(self.slow.drawdown, abs=1e-12)
        assert (state.tier, state.halted) == (self.slow.tier, self.slow.halted)
        assert [each.room for each in state.lanes] == [self.slow.room[each] for each in self.symbols]
        self.flattened += fast.flatten
        self.rules += [each for each in answers(fast) if isinstance(each, str)]
        return fast


WORLD = portfolios.with_margins(
    portfolios.world(5, {"BTC-USD": ("1d", 120), "CL": ("1h", 300), "ES": ("1d", 90), "GC": ("1d", 90),
                         "SPY": ("1h", 400)})
)  # fmt: skip


ENSEMBLES = portfolios.with_margins(
    portfolios.world(7, {"CL": ("1h", 300), "ES#a": ("1d", 90), "ES#b": ("1h", 400), "ES#c": ("1h", 400),
                         "GC#a": ("1d", 90), "GC#b": ("1d", 90)})
)  # fmt: skip


def compared(
    seed: int, again: int = 0, world: portfolios.World = WORLD
) -> tuple[Both, dict[str, MemoryRecorder]]:
    config = portfolios.drawn_portfolio(world, seed)
    if world is ENSEMBLES:
        content = config.model_dump()
        content["lanes"][1].update(max_contracts=1.0 + seed % 4, weight_cap=0.3 + 0.1 * (seed % 5))
        config = PortfolioConfig.model_validate(content)
    terms = portfolios.terms_of(world, config)
    both = Both(Coordinator(config, terms, CME), PortfolioOracle(config, terms, CME), again)
    return both, portfolios.run_portfolio_by(world, config, both)


def test_ensembles_equal_the_slow_implementation() -> None:
    """Members are one position and one instrument; their sizes add up without signs."""
    met: Counter[str] = Counter()
    trades = 0
    for seed in range(12):
        both, recorders = compared(seed, world=ENSEMBLES)
        met.update(both.rules)
        trades += sum(len(each.trades) for each in recorders.values())
    assert {"positions", "contracts", "weight_cap", "group", "volatility"} <= set(met), met
    assert trades > 200


def test_two_members_are_one_position_and_gross_contracts() -> None:
    """By hand: ES#a holds 2, ES#b wants to be short 2. One position; four contracts, and none net."""
    for limits, lane, refused in (
        ({"max_positions": 1}, {}, ""),
        ({"max_positions": 1, "max_net": 0.6}, {}, ""),
        ({"max_total_contracts": 3}, {}, "total_contracts"),
        ({}, {"max_contracts": 3}, "contracts"),
        ({}, {"max_contracts": 4}, ""),
    ):
        config = PortfolioConfig.model_validate(
            {"name": "two", "capital": 1_000_000, "day": "CME", "limits": limits, "lanes": [
                {"symbol": "ES", "units": 4, **lane, "members": [
                    {"name": name, "strategy": f"{name}.yaml", "share": 0.5} for name in "ab"]}]}
        )  # fmt: skip
        found = Coordinator(
            config, [LaneTerms.of(config, BOOK.market(each), STRATEGY) for each in config.names], CME
        )
        first = found.settle(int(CLOSES[0]), [news(5_000.0, 2.0), news(5_000.0)], [FLAT, FLAT])
        assert answers(first) == [2.0, None]
        second = found.settle(
            int(CLOSES[1]), [news(5_000.0), news(5_000.0, -2.0)], [holding(2.0, 5_000.0), FLAT]
        )
        assert answers(second) == [None, refused or -2.0]


def test_a_signal_belongs_to_one_arm_and_takes_nobodys_place_in_the_other() -> None:
    """By hand: the first bit of a SHA-256. One of a set may be admitted: it is that of its arm."""
    members = [
        {"name": arm, "strategy": "same.yaml", "share": 0.5, "split": {"test": "orders", "arm": arm}}
        for arm in ("champion", "challenger")
    ]
    config = PortfolioConfig.model_validate(
        {"name": "two", "capital": 1_000_000, "day": "CME", "rank": {"top": 1},
         "lanes": [{"symbol": "ES", "units": 4, "members": members}]}
    )  # fmt: skip
    assert config.names == ("ES#challenger", "ES#champion")
    terms = [LaneTerms.of(config, BOOK.market(each), STRATEGY) for each in config.names]
    found = Coordinator(config, terms, CME)
    seen = set()
    for date, stamp in zip(DATES.tolist(), CLOSES.tolist(), strict=True):
        settled = found.settle(stamp, [news(5_000.0, 2.0), news(5_000.0, 2.0)], [FLAT, FLAT])
        digest = hashlib.sha256(f'["orders","ES","{date}",{stamp}]'.encode()).digest()
        challenger = digest[0] >= 128
        assert answers(settled) == ([2.0, "other_arm"] if challenger else ["other_arm", 2.0])
        told = found.take()
        assert told is not None
        assert [each.rule for each in told.proposals] == ["", "other_arm"]
        seen.add(challenger)
    assert seen == {False, True}


def test_drawn_portfolios_equal_the_slow_implementation() -> None:
    """Rules refuse, the daily loss flattens; a restart at every 7th set changes nothing."""
    met: dict[str, int] = {}
    flattened = trades = 0
    for seed in range(20):
        both, recorders = compared(seed, again=7 if seed % 3 == 0 else 0)
        flattened += both.flattened
        trades += sum(len(each.trades) for each in recorders.values())
        for rule in both.rules:
            met[rule] = met.get(rule, 0) + 1
    assert set(met) == set(REFUSALS) - {"contracts", "weight_cap"}, met
    assert flattened > 5
    assert trades > 300


def test_a_restart_in_the_middle_is_not_seen() -> None:
    whole, once = compared(4)
    restarted, again = compared(4, again=1)
    assert whole.rules == restarted.rules != []
    assert {each: portfolios.recorded(one) for each, one in once.items()} == {
        each: portfolios.recorded(one) for each, one in again.items()
    }
