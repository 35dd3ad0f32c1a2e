"""Whatever a portfolio's limits are: what is held and what waits stay within; exits are never asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lockstep.market.instrument import traded_symbol
from lockstep.portfolio.config import PortfolioConfig
from lockstep.portfolio.coordinator import Coordinator
from lockstep.strategy import decision as d
from lockstep.strategy.admission import LaneNews, LaneStanding, Settled
from lockstep.strategy.matching import POSITION
from support import portfolios
from support.portfolios import BOOK

WORLD = portfolios.with_margins(
    portfolios.world(11, {"BTC-USD": ("1d", 120), "CL": ("1h", 500), "ES": ("1d", 90), "GC": ("1d", 90)})
)


class Watching(Coordinator):
    """Adds up by itself, from accounts and from orders that wait, what every set comes to."""

    orders: dict[str, float]
    proposed: int
    refused: int

    def settle(
        self, stamp: int, news: Sequence[LaneNews | None], standing: Sequence[LaneStanding]
    ) -> Settled:
        self.orders = getattr(self, "orders", {})
        self.proposed, self.refused = getattr(self, "proposed", 0), getattr(self, "refused", 0)
        held = {
            symbol: each.account[POSITION] or (self.orders.get(symbol, 0.0) if each.is_entering else 0.0)
            for symbol, each in zip(self.symbols, standing, strict=True)
        }
        settled = super().settle(stamp, news, standing)
        close = {each.symbol: each.close for each in self.state.lanes}
        for symbol, each in zip(self.symbols, settled.admissions, strict=True):
            if each is not None:
                self.proposed += 1
                assert held[symbol] == 0.0
                if each.code >= d.REFUSED:
                    self.refused += 1
                else:
                    held[symbol] = self.orders[symbol] = each.quantity
        if any(each is not None and each.code < d.REFUSED for each in settled.admissions):
            self._within(held, close)
        self._always(held)
        return settled

    def _always(self, held: dict[str, float]) -> None:
        limits = self.config.limits
        open_ = {traded_symbol(each) for each in held if held[each]}
        assert limits.max_positions is None or len(open_) <= limits.max_positions
        assert (
            limits.max_total_contracts is None or sum(map(abs, held.values())) <= limits.max_total_contracts
        )
        for group in self.config.groups.values():
            assert group.max_positions is None or len(open_ & set(group.symbols)) <= group.max_positions
        for lane in self.config.lanes:
            own = sum(abs(held[each]) for each in held if traded_symbol(each) == lane.symbol)
            assert lane.max_contracts is None or own <= lane.max_contracts

    def _within(self, held: dict[str, float], close: dict[str, float]) -> None:
        limits, capital = self.config.limits, self.config.capital
        value = {
            symbol: held[symbol] * abs(close[symbol]) * BOOK.instrument(symbol).multiplier
            if held[symbol]
            else 0.0
            for symbol in held
        }
        slack = 1e-6
        assert limits.max_gross is None or sum(map(abs, value.values())) <= limits.max_gross * capital + slack
        assert limits.max_net is None or abs(sum(value.values())) <= limits.max_net * capital + slack


ENSEMBLE = portfolios.with_margins(
    portfolios.world(12, {"CL": ("1h", 500), "ES#a": ("1d", 90), "ES#b": ("1h", 500), "ES#c": ("1h", 500)})
)


def watched(
    config: PortfolioConfig, kind: type[Watching], world: portfolios.World = WORLD
) -> tuple[Watching, dict[str, Any]]:
    made = kind(config, portfolios.terms_of(world, config), BOOK.session_named(config.day))
    return made, portfolios.run_portfolio_by(world, config, made)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(st.integers(0, 2**31), st.sampled_from([WORLD, ENSEMBLE]))
def test_room_never_exceeds_a_limit_and_exits_are_never_refused(seed: int, world: portfolios.World) -> None:
    config = portfolios.drawn_portfolio(world, seed)
    if world is ENSEMBLE:
        content = config.model_dump()
        content["lanes"][1]["max_contracts"] = 1.0 + seed % 12
        config = PortfolioConfig.model_validate(content)
    made, recorders = watched(config, Watching, world)
    assert made.proposed > 10
    for recorder in recorders.values():
        position = {stamp: held for stamp, _, held, _, _ in recorder.marks}
        for stamp, code in zip(recorder.stamps, recorder.codes, strict=True):
            assert code < d.REFUSED or position[stamp] == 0.0
        # Each exit decision fills: nobody stood between it and the broker.
        exits = [
            stamp for stamp, code in zip(recorder.stamps, recorder.codes, strict=True) if code in d.EXITS
        ]
        filled = {each.exit_decision for each in recorder.trades if each.exit_stamp}
        waiting = {each.decision for each in recorder.orders if each.intent == "exit"}
        assert set(exits) <= waiting
        assert set(exits) - filled <= {max(exits, default=0)} | {
            each for each in exits if any(t.entry_stamp <= each < t.exit_stamp for t in recorder.trades)
        }


class Forgetful(Watching):
    """Mutant: an entry that waits takes no room."""

    def _read(self, news: Sequence[LaneNews | None], standing: Sequence[LaneStanding]) -> None:
        super()._read(news, standing)
        self._entering[:] = False


class FreedAtTheDecision(Watching):
    """Mutant: a lane that says it wants to leave takes no room any more, though its exit has not filled."""

    def _read(self, news: Sequence[LaneNews | None], standing: Sequence[LaneStanding]) -> None:
        super()._read(news, standing)
        self._accounts[:, POSITION] = 0.0


def test_the_watcher_notices_room_that_is_forgotten_or_freed_too_early() -> None:
    config = portfolios.portfolio_of(WORLD, limits={"max_positions": 1})
    watched(config, Watching)
    for mutant in (Forgetful, FreedAtTheDecision):
        try:
            watched(config, mutant)
        except AssertionError:
            continue
        raise AssertionError(f"{mutant.__name__} was not noticed")
