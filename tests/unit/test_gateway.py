"""Every rule of the gateway: what it stops, the nearest thing that it lets through, and that exits pass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.errors import ConfigError, LiveError
from lockstep.live.messages import Mode, OrderIntent, Refusal
from lockstep.live.risk.gateway import Context, Gateway
from lockstep.live.risk.limits import Limits
from lockstep.live.risk.switches import Switches
from lockstep.settings import validated
from support.orders import DAY, HOUR, NOON, SECOND, context, intent, markets

MARKETS = markets("ES", "NQ", "SPY")
LIMITS = Limits(max_contracts=5, max_total_contracts=8, max_orders_per_day=3, max_daily_loss=1000)


def switches_in(folder: Path, **changes: Any) -> Switches:
    return Switches(kill_file=folder / "KILL", halt_file=folder / "HALT", **changes)


def gateway_in(folder: Path, mode: Mode = "live", **limits: Any) -> Gateway:
    return Gateway(
        limits=LIMITS.model_copy(update=limits), switches=switches_in(folder), mode=mode, markets=MARKETS
    )


def rule_of(gateway: Gateway, order: OrderIntent, seen: Context) -> str | None:
    refusal = gateway.review(order, seen)
    assert refusal is None or (refusal.order_id == order.order_id and refusal.detail)
    return refusal and refusal.rule


def bars(close: float, end: int = NOON) -> dict[str, Any]:
    return {"last_bars": {"ES": (end, (close, close, close, close, 1.0))}}


# (limits, what refuses, the nearest that passes)
CASES: dict[str, tuple[dict[str, Any], tuple[OrderIntent, Context], tuple[OrderIntent, Context]]] = {
    "duplicate": (
        {},
        (intent(), context(reviewed={intent().order_id})),
        (intent(), context(reviewed={intent("NQ").order_id})),
    ),
    "superseded": (
        {},
        (intent(), context(superseded={"ES": "v4 takes over once v3 is out"})),
        (intent(), context(superseded={"NQ": "v4 takes over once v3 is out"})),
    ),
    "unknown_order": (
        {},
        (intent(), context(unknown={"ES"})),
        (intent(), context(unknown={"NQ"})),
    ),
    "unreconciled": (
        {},
        (intent(), context(unreconciled={"ES": "the engine holds +1, the broker +2"})),
        (intent(), context(unreconciled={"NQ": "the engine holds +1, the broker +2"})),
    ),
    "clock": (
        {},
        (intent(), context(clock="is 3.000 s behind")),
        (intent(), context(clock="")),
    ),
    "market_hours": (
        {},
        (intent(), context(due=NOON + 3 * DAY)),  # Saturday
        (intent(), context(due=NOON + HOUR)),
    ),
    "stale_data": (
        {},
        (intent(), context(now=NOON + 301 * SECOND)),
        (intent(), context(now=NOON + 300 * SECOND)),
    ),
    "price_collar": (
        {},
        (intent(), context(**bars(5050.25))),
        (intent(), context(**bars(4950.0))),
    ),
    "orders_per_day": (
        {},
        (intent(), context(orders_today={"ES": 3, "NQ": 0})),
        (intent(), context(orders_today={"ES": 2, "NQ": 9})),
    ),
    "daily_loss": (
        {},
        (intent(), context(profit_today={"ES": -600.0, "NQ": -400.0})),
        (intent(), context(profit_today={"ES": -900.0, "NQ": -99.0})),
    ),
    "position": (
        {},
        (intent(quantity=3), context(positions={"ES": 2.0}, pending={"ES": 1.0})),
        (intent(quantity=3), context(positions={"ES": 2.0}, pending={"NQ": 1.0})),
    ),
    "total_position": (
        {},
        (intent(quantity=4), context(positions={"NQ": -4.0}, pending={"NQ": -1.0})),
        (intent(quantity=4), context(positions={"NQ": -4.0})),
    ),
    "notional": (
        {"max_notional": 500_000.0},
        (intent(quantity=-3), context()),
        (intent(quantity=-2), context()),
    ),
    "total_notional": (
        {"max_total_notional": 500_000.0},
        (intent(quantity=2), context(positions={"NQ": -1.0})),
        (intent(quantity=1), context(positions={"NQ": -1.0})),
    ),
}


@pytest.mark.parametrize("mode", ["paper", "shadow", "live"])
@pytest.mark.parametrize("rule", list(CASES))
def test_each_rule_refuses_in_every_mode_and_lets_the_nearest_pass(
    rule: str, mode: Mode, tmp_path: Path
) -> None:
    limits, refused, passed = CASES[rule]
    gateway = gateway_in(tmp_path, mode, **limits)
    assert rule_of(gateway, *refused) == rule
    assert rule_of(gateway, *passed) is None


@pytest.mark.parametrize("rule", [name for name in CASES if name != "duplicate"])
def test_exits_pass_every_limit(rule: str, tmp_path: Path) -> None:
    limits, (entry, seen), _ = CASES[rule]
    (tmp_path / "KILL").touch()
    exit_order = intent(quantity=-entry.quantity, opens=False)
    assert rule_of(gateway_in(tmp_path, **limits), exit_order, seen) is None


def test_an_exit_that_was_let_through_is_not_sent_again(tmp_path: Path) -> None:
    order = intent(quantity=-1.0, opens=False)
    assert rule_of(gateway_in(tmp_path), order, context(reviewed={order.order_id})) == "duplicate"


@pytest.mark.parametrize("mode", ["paper", "shadow", "live"])
def test_the_kill_switch_stops_entries_that_would_reach_a_broker(mode: Mode, tmp_path: Path) -> None:
    gateway = gateway_in(tmp_path, mode)
    assert rule_of(gateway, intent(), context()) is None
    assert gateway.suppressed(intent()) is None
    (tmp_path / "KILL").touch()
    assert rule_of(gateway, intent(), context()) == ("kill_switch" if mode == "live" else None)
    assert rule_of(gateway, intent(quantity=-1.0, opens=False), context()) is None
    suppressed = gateway.suppressed(intent())
    assert suppressed is not None
    assert suppressed.rule == "kill_switch"
    assert gateway.suppressed(intent(opens=False)) is None


@pytest.mark.parametrize("mode", ["paper", "shadow", "live"])
@pytest.mark.parametrize("flatten", [True, False])
def test_halt_stops_everything_but_exits_that_flatten(mode: Mode, flatten: bool, tmp_path: Path) -> None:
    switches = switches_in(tmp_path, flatten=flatten)
    gateway = Gateway(limits=LIMITS, switches=switches, mode=mode, markets=MARKETS)
    leave = intent(quantity=-1.0, opens=False)
    assert rule_of(gateway, leave, context()) is None
    (tmp_path / "HALT").write_text("lost the feed", encoding="utf-8")
    assert rule_of(gateway, intent(), context()) == "halt"
    assert rule_of(gateway, leave, context()) == (None if flatten else "halt")


@pytest.mark.parametrize("rule", list(CASES))
def test_an_order_that_waited_meets_conditions_again_but_not_itself(rule: str, tmp_path: Path) -> None:
    limits, (order, seen), (passing, quiet) = CASES[rule]
    gateway = gateway_in(tmp_path, **limits)
    conditions = {
        "superseded",
        "unknown_order",
        "unreconciled",
        "clock",
        "market_hours",
        "stale_data",
        "price_collar",
        "daily_loss",
    }
    refusal = gateway.release(order, seen)
    assert (refusal and refusal.rule) == (rule if rule in conditions else None)
    assert gateway.release(passing, quiet) is None


@pytest.mark.parametrize("mode", ["paper", "shadow", "live"])
def test_switches_are_read_again_when_an_order_leaves(mode: Mode, tmp_path: Path) -> None:
    gateway, leave = gateway_in(tmp_path, mode), intent(quantity=-1.0, opens=False)
    (tmp_path / "KILL").touch()
    refusal = gateway.release(intent(), context())
    assert (refusal and refusal.rule) == ("kill_switch" if mode == "live" else None)
    assert gateway.release(leave, context()) is None
    (tmp_path / "HALT").touch()
    for order in (intent(), leave):
        refusal = gateway.release(order, context())
        assert refusal is not None
        assert refusal.rule == "halt"


class _Remembering(Switches):
    """The mutant: reads its file once and believes it for ever."""

    def kill_switch(self) -> str | None:
        kept = self.__dict__.setdefault("_kept", [])
        if not kept:
            kept.append(super().kill_switch())
        return kept[0]  # type: ignore[no-any-return]


def _obeys_at_every_order(switches: Switches) -> bool:
    gateway = Gateway(limits=LIMITS, switches=switches, mode="live", markets=MARKETS)
    answers = []
    for on in (False, True, False, True):
        switches.kill_file.touch() if on else switches.kill_file.unlink(missing_ok=True)
        answers.append(gateway.review(intent(), context()) is not None)
    return answers == [False, True, False, True]


def test_the_switch_is_read_at_every_order_and_a_cache_is_noticed(tmp_path: Path) -> None:
    assert _obeys_at_every_order(switches_in(tmp_path))
    paths = switches_in(tmp_path)
    assert not _obeys_at_every_order(_Remembering(kill_file=paths.kill_file, halt_file=paths.halt_file))


def with_order(seen: Context, order: OrderIntent) -> Context:
    """Return what the desk shows the next order once this one was let through; it opens a position."""
    pending = {**seen.pending, order.symbol: seen.pending.get(order.symbol, 0.0) + order.quantity}
    today = {**seen.orders_today, order.symbol: seen.orders_today.get(order.symbol, 0) + 1}
    return replace(seen, pending=pending, orders_today=today, reviewed=seen.reviewed | {order.order_id})


def reviewed(gateway: Gateway, orders: Sequence[OrderIntent]) -> list[Refusal | None]:
    seen, verdicts = context(), []
    for order in orders:
        verdicts.append(gateway.review(order, seen))
        seen = seen if verdicts[-1] else with_order(seen, order)
    return verdicts


def test_two_orders_of_one_stamp_cannot_both_pass_the_total_limit(tmp_path: Path) -> None:
    gateway = gateway_in(tmp_path)
    both = (intent("ES", 5.0), intent("NQ", -4.0))
    # The mutant: each on its own sees room.
    assert [gateway.review(order, context()) for order in both] == [None, None]
    first, second = reviewed(gateway, both)
    assert first is None
    assert second is not None
    assert second.rule == "total_position"
    swapped = reviewed(gateway, both[::-1])
    assert [refusal and refusal.rule for refusal in swapped] == [None, "total_position"]


def test_one_id_twice_in_one_stamp_passes_once(tmp_path: Path) -> None:
    refusals = reviewed(gateway_in(tmp_path), (intent(), intent()))
    assert [refusal and refusal.rule for refusal in refusals] == [None, "duplicate"]


def test_a_refused_order_takes_no_room(tmp_path: Path) -> None:
    orders = (intent("ES", 6.0), intent("NQ", 5.0))
    refusals = reviewed(gateway_in(tmp_path), orders)
    assert [refusal and refusal.rule for refusal in refusals] == ["position", None]


def test_a_second_thread_is_turned_away(tmp_path: Path) -> None:
    gateway = gateway_in(tmp_path)
    assert gateway.review(intent(), context()) is None
    with ThreadPoolExecutor(1) as pool, pytest.raises(LiveError, match="the engine's thread"):
        pool.submit(gateway.review, intent(), context()).result()
    assert gateway.review(intent(), context()) is None


@given(
    sizes=st.lists(st.tuples(st.sampled_from(["ES", "NQ"]), st.integers(-6, 6).filter(bool)), max_size=12),
    held=st.dictionaries(st.sampled_from(["ES", "NQ"]), st.integers(-5, 5).map(float)),
)
def test_whatever_is_asked_for_the_limits_hold(
    sizes: list[tuple[str, int]], held: dict[str, float], tmp_path_factory: pytest.TempPathFactory
) -> None:
    gateway = gateway_in(tmp_path_factory.getbasetemp(), "paper", max_orders_per_day=99)
    orders = [intent(symbol, float(size), order_id=str(i)) for i, (symbol, size) in enumerate(sizes)]
    seen = context(positions=held)
    for order in orders:
        if gateway.review(order, seen) is None:
            seen = with_order(seen, order)
            assert abs(seen.exposure(order.symbol)) <= 5
            assert abs(seen.exposure("ES")) + abs(seen.exposure("NQ")) <= 8


@pytest.mark.parametrize(
    ("seen", "rule"),
    [
        (context(last_bars={}), "stale_data"),
        (context(now=NOON - 301 * SECOND), "stale_data"),  # the clock fell back behind the data
        (context(now=NOON - 300 * SECOND), None),
        (context(**bars(math.nan)), "price_collar"),
        (context(profit_today={"ES": math.nan}), "daily_loss"),
        (context(positions={"ES": math.nan}), "position"),
    ],
)
def test_what_is_not_known_is_not_traded_on(seen: Context, rule: str | None, tmp_path: Path) -> None:
    assert rule_of(gateway_in(tmp_path), intent(), seen) == rule


def test_a_position_without_a_price_fills_the_total_notional(tmp_path: Path) -> None:
    gateway = gateway_in(tmp_path, max_total_notional=1e12)
    assert rule_of(gateway, intent(), context(positions={"SPY": 1.0})) == "total_notional"
    assert rule_of(gateway, intent(), context(positions={"SPY": 0.0})) is None


def test_one_symbol_may_have_a_limit_of_its_own(tmp_path: Path) -> None:
    gateway = gateway_in(tmp_path, by_symbol={"ES": 1.0})
    assert rule_of(gateway, intent("ES", 2.0), context()) == "position"
    assert rule_of(gateway, intent("NQ", 2.0), context()) is None


def test_a_collar_in_ticks_knows_the_instrument(tmp_path: Path) -> None:
    collar = validated(Limits, {**LIMITS.model_dump(), "collar": {"ticks": 4}}, where="limits").collar
    gateway = gateway_in(tmp_path, collar=collar)
    assert rule_of(gateway, intent(), context(**bars(5001.0))) is None
    assert rule_of(gateway, intent(), context(**bars(5001.25))) == "price_collar"


def test_age_is_counted_in_open_market_time(tmp_path: Path) -> None:
    friday_close = NOON + 2 * DAY + 7 * HOUR  # 17:00 in New York
    sunday_open = friday_close + 2 * DAY  # 18:00, after the change to summer time
    closed = {"ES": (friday_close, (5000.0,) * 5)}
    gateway = gateway_in(tmp_path)
    fresh = context(now=sunday_open + 200 * SECOND, due=sunday_open + 200 * SECOND, last_bars=closed)
    stale = context(now=sunday_open + 301 * SECOND, due=sunday_open + 301 * SECOND, last_bars=closed)
    assert rule_of(gateway, intent(), fresh) is None
    assert rule_of(gateway, intent(), stale) == "stale_data"


def test_limits_are_asked_for_and_misspellings_named() -> None:
    with pytest.raises(ConfigError, match="max_daily_loss"):
        validated(
            Limits, {"max_contracts": 1, "max_total_contracts": 1, "max_orders_per_day": 1}, where="live.yml"
        )
    with pytest.raises(ConfigError, match="did you mean 'max_contracts'"):
        validated(Limits, {**LIMITS.model_dump(), "max_contract": 1}, where="live.yml: limits")
    for collar in ({}, {"percent": 1, "ticks": 4}):
        with pytest.raises(ConfigError, match="either percent or ticks"):
            validated(Limits, {**LIMITS.model_dump(), "collar": collar}, where="live.yml: limits")
