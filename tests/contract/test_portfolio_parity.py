"""Several lanes of one account: what is admitted trades exactly as it would alone."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from lockstep.errors import StrategyError
from lockstep.strategy import decision as d
from lockstep.strategy.admission import REFUSALS, Admission, LaneNews, LaneStanding, Settled
from lockstep.strategy.matching import POSITION
from lockstep.strategy.records import MemoryRecorder
from support import portfolios
from support.portfolios import AdmitAll, recorded

# Daily bars that end at 16:00 and 17:00 in New York and at midnight UTC, and hourly ones around all of them.
WORLD = portfolios.world(
    3, {"BTC-USD": ("1d", 150), "CL": ("1h", 500), "ES": ("1d", 120), "SPY": ("1h", 800), "ZC": ("1d", 100)}
)


@functools.cache
def alone(symbol: str) -> MemoryRecorder:
    return WORLD.alone(symbol)


@pytest.mark.parametrize("live", [False, True])
def test_everything_admitted_is_the_single_runs(live: bool) -> None:
    """PARITY 12, 38: two phases change nothing where every entry is admitted as it was proposed."""
    admitting = AdmitAll(WORLD.symbols)
    together = WORLD.together(admitting, live=live)
    for symbol in WORLD.symbols:
        assert recorded(together[symbol]) == recorded(alone(symbol)), symbol
        assert len(alone(symbol).trades) > 10, symbol
    runs = [alone(symbol) for symbol in WORLD.symbols]
    assert len(admitting.proposed) == sum(code in d.ENTRIES for each in runs for code in each.codes)
    assert admitting.stamps == sorted({stamp for each in runs for stamp in each.stamps})


class AdmitSmaller(AdmitAll):
    """Mutant of the one above: the third proposal of ES is one contract smaller."""

    def answer(self, symbol: str, news: LaneNews | None) -> Admission | None:
        found = super().answer(symbol, news)
        if found is None or [each for each, _ in self.proposed].count("ES") != 3 or symbol != "ES":
            return found
        return found._replace(quantity=found.quantity - (1.0 if found.quantity > 0.0 else -1.0))


def test_one_smaller_admission_is_seen_in_its_lane_alone() -> None:
    together = WORLD.together(AdmitSmaller(WORLD.symbols))
    differing = {each for each in WORLD.symbols if recorded(together[each]) != recorded(alone(each))}
    assert differing == {"ES"}


def test_lanes_come_sorted_and_as_the_admissions_know_them() -> None:
    """Mutant "swapped lanes": an answer would go to the lane that stands in its place."""
    swapped = (*WORLD.symbols[:2], *WORLD.symbols[:1:-1])
    for given, known in ((swapped, WORLD.symbols), (swapped, swapped), (WORLD.symbols, WORLD.symbols[1:])):
        with pytest.raises(StrategyError, match="give the lanes sorted by symbol"):
            WORLD.together(AdmitAll(known), symbols=given)


def test_what_cannot_be_admitted_is_refused() -> None:
    closing = replace(WORLD, configs={**WORLD.configs, "ES": WORLD.configs["ES"].replaced(execution="close")})
    with pytest.raises(StrategyError, match="ES: execution close fills before anybody can admit"):
        closing.together(AdmitAll(WORLD.symbols))
    with pytest.raises(StrategyError, match=r"limits or ranking need rsi_2.*add it to its `features`"):
        WORLD.together(AdmitAll(WORLD.symbols, rank_id="rsi_2"))


def test_the_factor_is_in_the_amount_before_it_is_rounded_down() -> None:
    doubled = replace(WORLD, factors={"ES": 2.0, "BTC-USD": 0.5})
    proposed: dict[str, list[float]] = {symbol: [] for symbol in WORLD.symbols}
    for world in (WORLD, doubled):
        admitting = AdmitAll(WORLD.symbols)
        world.together(admitting)
        for symbol in WORLD.symbols:
            sizes = [abs(quantity) for each, quantity in admitting.proposed if each == symbol]
            proposed[symbol].append(sizes[0])
    assert proposed["CL"][0] == proposed["CL"][1]
    assert 2 * proposed["ES"][0] <= proposed["ES"][1] <= 2 * proposed["ES"][0] + 1
    assert proposed["BTC-USD"][1] < proposed["BTC-USD"][0]


class Refusing(AdmitAll):
    """Refuses every entry of ES by its fourth rule."""

    def answer(self, symbol: str, news: LaneNews | None) -> Admission | None:
        found = super().answer(symbol, news)
        if found is not None and symbol == "ES":
            return Admission(d.REFUSED + 3, 0.0)
        return found


@pytest.mark.parametrize("live", [False, True])
def test_a_refused_entry_says_by_which_rule_and_sends_nothing(live: bool) -> None:
    together = WORLD.together(Refusing(WORLD.symbols), live=live)
    es = together["ES"]
    assert es.trades == es.orders == []
    assert (d.REFUSED + 3, f"refused: {REFUSALS[3]}") in set(zip(es.codes, es.reasons, strict=True))
    assert not d.ENTRIES & set(es.codes)
    for symbol in set(WORLD.symbols) - {"ES"}:
        assert recorded(together[symbol]) == recorded(alone(symbol))


class Flattening(AdmitAll):
    """Flattens everything at each 29th set, and keeps who held something then and who had a bar."""

    def settle(
        self, stamp: int, news: Sequence[LaneNews | None], standing: Sequence[LaneStanding]
    ) -> Settled:
        self.flattened: dict[int, dict[str, bool]]
        settled = super().settle(stamp, news, standing)
        if len(self.stamps) % 29:
            return settled
        lanes = zip(self.symbols, news, standing, strict=True)
        self.flattened = getattr(self, "flattened", {}) | {
            stamp: {symbol: told is not None for symbol, told, each in lanes if each.account[POSITION]}
        }
        return Settled(settled.admissions, flatten=True)


@pytest.mark.parametrize("live", [False, True])
def test_a_flattened_lane_leaves_at_its_bar_or_at_its_next_one(live: bool) -> None:
    """Exits are never asked; what leaves already leaves once."""
    flattening = Flattening(WORLD.symbols)
    together = WORLD.together(flattening, live=live)
    here = later = 0
    for stamp, held in flattening.flattened.items():
        for symbol, has_bar in held.items():
            recorder = together[symbol]
            (trade,) = (
                each
                for each in recorder.trades
                if each.entry_stamp <= stamp and (not each.exit_stamp or each.exit_stamp > stamp)
            )
            if not trade.exit_stamp:
                continue  # the bars end before its exit fills
            in_session = WORLD.lane(symbol).clock.at(stamp)[d.IN_SESSION] != 0.0
            own_exit = 0 < trade.exit_decision <= stamp and trade.exit_reason != "daily loss"
            if has_bar and in_session and not own_exit:
                assert (trade.exit_reason, trade.exit_decision) == ("daily loss", stamp)
                here += 1
            elif trade.exit_reason == "daily loss":
                # Until it leaves, the lane decides nothing else: this is its next bar of a session.
                first, last = (
                    recorder.stamps.index(trade.exit_decision),
                    np.searchsorted(recorder.stamps, stamp),
                )
                between = [each for each in recorder.stamps[last:first] if each > stamp]
                assert not any(WORLD.lane(symbol).clock.at(each)[d.IN_SESSION] for each in between)
                later += 1
    assert here > 5
    assert later > 5
    for symbol, recorder in together.items():
        reasons = {each.exit_reason for each in recorder.trades}
        assert "daily loss" in reasons, symbol
