"""One market under two names: what correlation finds, and what it must leave apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.ledger.kinship import LEAST_DAYS, Series, _reached, alike

START = 12_000


def series(seed: int = 0, count: int = 1500, symbol: str = "A") -> Series:
    """Return fat-tailed returns on weekdays."""
    days = np.arange(START, START + 2 * count, dtype=np.int32)
    days = days[(days + 3) % 7 < 5][:count]
    returns = 0.01 * np.random.default_rng(seed).standard_t(4, count)
    return Series(symbol=symbol, family=symbol, bars=symbol, days=days, returns=returns)


def mixed(base: Series, correlation: float, seed: int = 9) -> Series:
    """Return a market with that correlation to `base`."""
    other = series(seed, base.days.size).returns
    return replace(base, returns=correlation * base.returns + np.sqrt(1 - correlation**2) * other)


def strength(one: Series, other: Series) -> float:
    found = alike(one, other)
    assert found is not None
    return abs(found.correlation)


def spiked(base: Series, seed: int) -> Series:
    """Return a copy with a few wrong ticks, each far beyond all returns."""
    returns, random = base.returns.copy(), np.random.default_rng(seed)
    returns[random.choice(returns.size, 5, replace=False)] = random.choice([-0.9, 3.0], 5)
    return replace(base, returns=returns)


@pytest.mark.parametrize(
    "copy",
    [
        lambda base: base,
        lambda base: replace(base, returns=-base.returns),
        lambda base: replace(base, returns=3 * base.returns - 0.0001),
        lambda base: replace(base, days=base.days + 1),
        lambda base: replace(base, days=np.append(base.days[1:], base.days[-1] + 1)),
        lambda base: replace(base, days=base.days - 364),
        lambda base: replace(base, days=base.days[::2], returns=base.returns[::2]),
        lambda base: replace(base, days=base.days[600:900], returns=base.returns[600:900]),
        lambda base: spiked(base, 4),
        lambda base: mixed(base, 0.99),
    ],
    ids=["same", "inverse", "levered", "a day later", "a session later", "a year earlier", "every other day",
         "a part", "with wrong ticks", "nearly"],
)  # fmt: skip
def test_a_copy_is_found(copy: object) -> None:
    base = series()
    other = copy(base)  # type: ignore[operator]
    assert strength(base, other) >= 0.98
    assert strength(other, base) >= 0.98


@pytest.mark.parametrize("seed", range(10))
def test_markets_that_move_much_alike_stay_apart(seed: int) -> None:
    """As the S&P 500 and the Nasdaq 100 do; shifts must not find what is not there either."""
    base = series(seed)
    assert 0.88 <= strength(base, mixed(base, 0.92, seed + 50)) < 0.96
    assert strength(base, series(seed + 100)) < 0.15


def test_without_enough_common_days_nothing_is_said() -> None:
    base = series()
    few = replace(base, days=base.days[: LEAST_DAYS - 1], returns=base.returns[: LEAST_DAYS - 1])
    enough = replace(base, days=base.days[:LEAST_DAYS], returns=base.returns[:LEAST_DAYS])
    assert alike(base, few) is None
    assert strength(base, enough) >= 0.98
    elsewhere = replace(series(7), days=base.days + 50_000)
    assert alike(base, elsewhere) is None
    nothing = replace(base, days=base.days[:0], returns=base.returns[:0])
    assert alike(base, nothing) is alike(nothing, base) is None


def test_the_lag_says_where_the_other_one_s_days_are() -> None:
    base = series()
    found = alike(base, replace(base, days=base.days + 30))
    assert found is not None
    assert (found.lag, found.days) == (30, base.days.size)


def test_a_market_that_never_moves_has_no_correlation() -> None:
    base = series()
    still = replace(base, returns=np.zeros(base.days.size))
    assert alike(base, still) is None


PAIRS = st.lists(st.tuples(st.sampled_from("ABCDEFGH"), st.sampled_from("ABCDEFGH")), max_size=10)


@given(pairs=PAIRS, one=st.sampled_from("ABCDEFGH"), other=st.sampled_from("ABCDEFGH"))
def test_relatives_are_an_equivalence(pairs: list[tuple[str, str]], one: str, other: str) -> None:
    assert one in _reached(one, pairs)
    assert (other in _reached(one, pairs)) == (one in _reached(other, pairs))
    if other in _reached(one, pairs):
        assert _reached(other, pairs) == _reached(one, pairs)
    assert _reached(one, pairs) == _reached(one, pairs[::-1])
    assert all(_reached(a, pairs) == _reached(b, pairs) for a, b in pairs)
