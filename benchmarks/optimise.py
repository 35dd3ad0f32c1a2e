"""What the optimiser of a portfolio takes: choice of the method, limits' drawdowns, whole contracts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.measure import Measured, least_cpu, of_tests
from lockstep.errors import ConfigError
from lockstep.market.dates import DateRange
from research.optimise.feasible import drawdown_probabilities
from research.optimise.methods import equal_risk, scaled
from research.optimise.nested import NestedDesign, nested
from research.optimise.optimise import OptimiserDesign
from research.optimise.optimise import optimise as optimised
from research.optimise.streams import PortfolioStreams
from research.optimise.whole import whole_contracts
from research.statistics.bootstrap import resampled_rows

_SETS, _MEASURED = 2_000, 80


def optimise() -> Iterator[Measured]:
    """Measure seven lanes of 2,520 sessions; limit sets are measured in a sample of 80 and multiplied."""
    risk = of_tests("support.noise_portfolios").drawn(3)
    sessions, lanes = risk.pnl.shape
    yield Measured(
        what=f"nested walk-forward and CPCV(10, 2), {lanes} lanes x {sessions:,} sessions",
        value=least_cpu(lambda: nested(risk, NestedDesign(target=25_000.0)), runs=1),
        unit="s",
        promise=15.0,
        note="52 outer parts, six methods, a control and the rule in each; CPU time",
    )
    rows = resampled_rows(sessions, block=5, resamples=1_000, seed=1)
    pnl = np.random.default_rng(1).normal(10, 2_000, (_MEASURED, sessions))
    yield Measured(
        what=f"P(drawdown above the declared) of {_SETS:,} limit sets, 1,000 resamples",
        value=least_cpu(lambda: drawdown_probabilities(pnl, rows, 1e5)) * _SETS / _MEASURED,
        unit="s",
        promise=15.0,
        note="CPU time",
    )
    units = scaled(equal_risk(risk), risk.covariance, 250_000.0)
    costs = np.sqrt(np.diag(risk.covariance))[None] * 50
    most, budgets = np.full(lanes, 100), costs @ units * 0.7
    yield Measured(
        what=f"whole contracts of {lanes} lanes, exact, a budget that binds",
        value=least_cpu(lambda: whole_contracts(units, risk.covariance, most, costs, budgets)) * 1e3,
        unit="ms",
        promise=50.0,
        note="CPU time",
    )
    yield _whole_run()


def _whole_run() -> Measured:
    """Measure a plan of seven instruments twice: one that is met at once, one that no set of limits meets."""
    world = of_tests("support.portfolios")
    plans = of_tests("support.plans")
    drawn = world.world(2, {each: ("1d", 2_770) for each in world.LEVELS})
    lanes = plans.lanes_of(drawn, DateRange.of("2019-06-03", "2029-06-01"))
    design = OptimiserDesign(folder=Path("configs"), plan_folder=Path("configs/training"))

    def run(**drawdown: float) -> None:
        plan = plans.plan_of(drawn, drawdown=drawdown)
        optimised(plan, PortfolioStreams.of(plan, lanes, world.BOOK), design)

    def both() -> None:
        run(at=1.0)
        try:
            run(at=0.02, probability=1e-6)
        except ConfigError:
            return
        raise AssertionError("a drawdown of 2 % was feasible; all sets of limits were to be tried")

    return Measured(
        what=f"a portfolio of {len(lanes)} instruments, 10 years: nested CPCV twice, {_SETS:,} limit sets",
        value=least_cpu(both, runs=1),
        unit="s",
        promise=90.0,
        note="streams, method, whole contracts, limits, 40 orders, intervals; CPU time of all threads",
    )
