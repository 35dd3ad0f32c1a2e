"""On lanes without skill the simple method is written, within the 99.9 % bound of 5 %."""

from __future__ import annotations

from support.noise_portfolios import CONTROLS, RULE, not_simple
from support.sizes import bound


def test_the_rule_writes_the_simple_method_and_picking_the_best_does_not() -> None:
    """`make soak` has 200 of them: `benchmarks/results/portfolio_noise.json`."""
    count = 40
    found = not_simple(count, seed=7)
    assert bound(count) == 7
    assert found[RULE].total() <= bound(count)
    for control in CONTROLS:
        assert found[control].total() > 2 * bound(count), control
