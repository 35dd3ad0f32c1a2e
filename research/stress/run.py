"""A portfolio under stress: every scenario through its strategies, the worst again in Cerebro, the gate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lockstep.errors import ConfigError, DataError, EngineMismatch, NoBars
from lockstep.floats import require_exact, require_still_exact
from lockstep.identity import hash_of, json_digest
from lockstep.market.config import InstrumentBook
from lockstep.market.dates import DateRange
from lockstep.market.instrument import traded_symbol
from lockstep.market.sessions import Session
from lockstep.portfolio.config import PortfolioConfig
from lockstep.portfolio.terms import LaneTerms
from research.backtest.portfolio import PortfolioMember
from research.backtest.portfolio_engine import PortfolioRun
from research.backtest.run import COMPILED, InstrumentRun
from research.stress.changes import Stressed, StressWorld
from research.stress.gaps import GapGround, GapScan
from research.stress.plan import StressPlan, default_plan
from research.stress.scenarios import GapScenario, PathScenario, Scenario
from research.stress.sizes import SmallerSize, kept_lanes, largest_size, narrowed, without_lanes
from research.sweep.portfolio import PortfolioGround, sweep_portfolio

Step = Callable[[str], object]


@dataclass(frozen=True, kw_only=True)
class ScenarioRow:
    """What one scenario came to; `scenario` is None for the history as it was.

    fall, drawdown   deepest, USD and fraction of the capital; NaN where it could not be run
    net_profit   USD; NaN likewise
    when         first session of a path, "" elsewhere; missing: by symbol, what its lane lacks
    refused      why it was not run, "" where it was
    in_cerebro   whether Cerebro ran it again, equal in every bit
    """

    scenario: Scenario | None
    fall: float = math.nan
    drawdown: float = math.nan
    net_profit: float = math.nan
    when: str = ""
    missing: Mapping[str, str] = field(default_factory=dict)
    refused: str = ""
    in_cerebro: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class StressResult:
    """A portfolio under stress.

    base        the history as it was; rows: of all scenarios but the gaps at every open bar
    scan        those gaps; reported: how many of its gaps the plan names, the first ones
    gaps_in_cerebro   (gap, set) of those that Cerebro ran again
    size        the largest smaller size that stays under the gate; None where the gate holds, or for no size
    """

    config: PortfolioConfig
    plan: StressPlan
    base: ScenarioRow
    rows: Sequence[ScenarioRow]
    scan: GapScan
    reported: int
    gaps_in_cerebro: Sequence[tuple[int, int]]
    size: SmallerSize | None
    hashes: Mapping[str, str]

    @property
    def worst(self) -> float:
        """Deepest drawdown of all scenarios, fraction of the capital."""
        own = [each.drawdown for each in (self.base, *self.rows) if not np.isnan(each.drawdown)]
        return max(*own, _deepest(self.scan, self.reported))

    @property
    def passes(self) -> bool:
        """Whether every scenario stays below the gate."""
        return self.worst < self.plan.gate

    def plot(self) -> Any:
        """Return the figure of the deepest drawdown of each scenario, and the gate."""
        from research.report.views import on_paper
        from research.stress.page import drawdown_figure

        return on_paper(drawdown_figure(self))

    def _repr_html_(self) -> str:
        from research.stress.page import stress_fragment

        return stress_fragment(self)


def _deepest(scan: GapScan, gaps: int) -> float:
    found = scan.drawdowns[:gaps, scan.is_open]
    return float(found.max()) if found.size else scan.fall / scan.capital


@dataclass(frozen=True, kw_only=True, eq=False)
class StressCase:
    """A scenario that can be run: the lanes that have its bars, and the run of them."""

    scenario: Scenario | None
    missing: Mapping[str, str]
    run: PortfolioRun

    def outcome(self, config: PortfolioConfig) -> tuple[float, float]:
        """Return the deepest fall and the net profit of a portfolio of its lanes, USD."""
        gone = {traded_symbol(each) for each in self.missing}
        mine = without_lanes(config, [each for each in gone if each in config.symbols])
        ground = narrowed(self.run.ground, kept_lanes(self.run.ground, mine))
        found = sweep_portfolio(ground, [mine], jobs=1)
        return float(found.max_drawdown[0]), float(found.net_profit[0])

    def has_lanes(self, config: PortfolioConfig) -> bool:
        """Whether any lane of a portfolio trades it."""
        return any(each not in self.missing for each in config.names)


Outcome = tuple[ScenarioRow, StressCase | None]


def run_stress(
    config: PortfolioConfig,
    members: Mapping[str, PortfolioMember],
    book: InstrumentBook,
    *,
    plan: StressPlan | None = None,
    gate: float | None = None,
    span: DateRange | None = None,
    on_step: Step = len,
) -> StressResult:
    """Run a portfolio through every scenario of a plan.

    members   by symbol, one for each lane, as for `run_portfolio`; span: session dates that are traded
    plan      None: the scenarios that come with Lockstep; of those, one whose bars are not there is skipped
              and named, while one of a file is refused
    gate      in place of the plan's

    ConfigError, DataError or NoBars where a scenario cannot be run, EngineMismatch where Cerebro disagrees.
    """
    require_exact()
    chosen, is_own = plan or default_plan(), plan is not None
    if gate is not None:
        chosen = chosen.model_copy(update={"gate": gate})
    world = StressWorld(members=members, span=span or DateRange())
    calendar = book.session_named(config.day)
    for each in chosen.scenarios:
        each.require_known(world)
    on_step("the history as it was")
    base = StressCase(
        scenario=None, missing={}, run=_run(config, Stressed(members=members, span=world.span), calendar)
    )
    on_step("a gap at every open bar")
    ground, reported = _gap_ground(world, base.run.ground, chosen)
    scan = ground.scan(config)
    if not scan.is_open.any():
        raise DataError(
            f"portfolio {config.name}: holds nothing at any bar of {world.span}; nothing can be stressed. "
            "Look at its backtest first (lockstep backtest --portfolio)"
        )
    outcomes = []
    for each in chosen.scenarios:
        if isinstance(each, GapScenario) and each.at is None:
            continue
        on_step(each.title)
        outcomes.append(_outcome(each, scan, world, config, calendar, is_own=is_own))
    on_step("the worst ones in Cerebro")
    rows = _again(outcomes, chosen.worst)
    gaps = _gaps_again(scan, reported, world, config, calendar, chosen.worst)
    require_still_exact()
    found = StressResult(
        config=config, plan=chosen, base=_row(base, config), rows=rows, scan=scan, reported=reported,
        gaps_in_cerebro=gaps, size=None, hashes=_hashes(config, members, book, chosen),
    )  # fmt: skip
    if found.passes:
        return found
    on_step("the largest size that stays under the gate")
    cases = [base, *(case for _, case in outcomes if case is not None)]
    return replace(found, size=_size_under(chosen.gate, config, ground, reported, cases))


def _run(config: PortfolioConfig, stressed: Stressed, calendar: Session) -> PortfolioRun:
    runs = {
        symbol: InstrumentRun.of(each.strategy, each.history, symbol, span=stressed.span, veto=each.veto)
        for symbol, each in sorted(stressed.members.items())
    }
    terms = [LaneTerms.of(config, runs[each].market, runs[each].config, runs[each].veto) for each in runs]
    return PortfolioRun(config=config, runs=runs, terms=terms, calendar=calendar, span=stressed.span)


def _gap_ground(world: StressWorld, ground: PortfolioGround, plan: StressPlan) -> tuple[GapGround, int]:
    """Return the gaps of a plan, then those that say where a path begins; and how many the plan names."""
    gaps = [each for each in plan.scenarios if isinstance(each, GapScenario) and each.at is None]
    known = {(each.shock, each.symbols) for each in gaps}
    named = len(gaps)
    for each in plan.scenarios:
        if isinstance(each, PathScenario) and each.start is None and (each.shock, each.symbols) not in known:
            known.add((each.shock, each.symbols))
            gaps.append(GapScenario(shock=each.shock, symbols=each.symbols))
    return GapGround.of(world, ground, gaps), named


def _dated(scenario: Scenario, scan: GapScan) -> Scenario:
    """Return a path with its first session: the date at which the gap of its shock does most harm."""
    if not isinstance(scenario, PathScenario) or scenario.start is not None:
        return scenario
    wanted = (scenario.shock, scenario.symbols)
    k = [(each.shock, each.symbols) for each in scan.gaps].index(wanted)
    day = int(scan.days[scan.worst(k, 1)[0]])
    return scenario.model_copy(update={"start": np.datetime64(day, "D").item()})


def _row(case: StressCase, config: PortfolioConfig) -> ScenarioRow:
    fall, net_profit = case.outcome(config)
    start = case.scenario.start if isinstance(case.scenario, PathScenario) else None
    return ScenarioRow(
        scenario=case.scenario, fall=fall, drawdown=fall / config.capital, net_profit=net_profit,
        missing=case.missing, when=start.isoformat() if start else "",
    )  # fmt: skip


def _outcome(
    scenario: Scenario, scan: GapScan, world: StressWorld, config: PortfolioConfig, calendar: Session,
    *, is_own: bool,
) -> Outcome:  # fmt: skip
    dated = _dated(scenario, scan)
    try:
        stressed = dated.apply(world)
    except (NoBars, ConfigError) as error:
        if is_own:
            raise
        return ScenarioRow(scenario=scenario, refused=str(error)), None
    mine = without_lanes(config, {traded_symbol(each) for each in stressed.missing})
    case = StressCase(scenario=dated, missing=stressed.missing, run=_run(mine, stressed, calendar))
    return _row(case, config), case


def _again(outcomes: Sequence[Outcome], worst: int) -> list[ScenarioRow]:
    """Run the worst scenarios in Cerebro and return all rows; EngineMismatch where it disagrees."""
    order = sorted(
        (place for place, (_, case) in enumerate(outcomes) if case is not None),
        key=lambda place: (-outcomes[place][0].drawdown, place),
    )
    rows = [row for row, _ in outcomes]
    for place in order[:worst]:
        row, case = outcomes[place]
        assert case is not None
        assert row.scenario is not None
        _require_equal(case.run, row.fall, row.scenario.title)
        rows[place] = replace(row, in_cerebro=True)
    return rows


def _gaps_again(
    scan: GapScan, reported: int, world: StressWorld, config: PortfolioConfig, calendar: Session, worst: int
) -> list[tuple[int, int]]:
    """Run the worst gaps in Cerebro, from the first bar on, and return (gap, set) of each."""
    found = [(k, s) for k in range(reported) for s in scan.worst(k, worst)]
    found.sort(key=lambda one: (-scan.falls[one], -scan.losses[one], one))
    for k, s in found[:worst]:
        gap = scan.gaps[k].on_set(int(scan.stamps[s]))
        run = _run(config, gap.apply(world), calendar)
        _require_equal(run, float(scan.falls[k, s]), gap.title, last=float(scan.after[k, s]))
    return found[:worst]


def _require_equal(run: PortfolioRun, fall: float, title: str, *, last: float | None = None) -> None:
    """Raise EngineMismatch where the engines differ, or where they find another deepest fall, USD.

    last   equity at the end, USD, if it is known
    """
    records = run.records(COMPILED)
    run.require_agreement(records, COMPILED)
    equity = records.marks.equity
    highest = np.maximum.accumulate(np.concatenate([[run.config.capital], equity]))[1:]
    deepest = float(np.max(highest - equity))
    for what, mine, theirs in (("deepest fall", fall, deepest), ("equity", last, float(equity[-1]))):
        if mine is not None and mine != theirs:
            raise EngineMismatch(
                f"portfolio {run.config.name}, {title}: {what} {mine!r} USD in the stress loop, {theirs!r} "
                "in Cerebro; nothing is written. Report the portfolio and the scenario"
            )


def _size_under(
    gate: float, config: PortfolioConfig, ground: GapGround, reported: int, cases: Sequence[StressCase]
) -> SmallerSize | None:
    order = sorted(cases, key=lambda case: -case.outcome(config)[0])

    def accepts(smaller: PortfolioConfig) -> bool:
        for case in order:
            if case.has_lanes(smaller) and not case.outcome(smaller)[0] / config.capital < gate:
                return False
        kept = kept_lanes(ground.ground, smaller)
        scan = ground.narrowed(narrowed(ground.ground, kept), kept).scan(smaller)
        # A size that trades nothing is safe, and no size.
        return bool(scan.is_open.any()) and _deepest(scan, reported) < gate

    steps = {traded_symbol(name): each.instrument.size_step for name, each in ground.ground.markets.items()}
    return largest_size(config, steps, accepts)


def _hashes(
    config: PortfolioConfig, members: Mapping[str, PortfolioMember], book: InstrumentBook, plan: StressPlan
) -> dict[str, str]:
    contents = {symbol: each.content_hash for symbol, each in members.items()}
    return {
        "portfolio_hash": config.portfolio_hash,
        "identity": config.identity(contents, book.digest(config.symbols, ())),
        "plan_hash": json_digest(plan.model_dump(mode="json")),
        "code_hash": hash_of((__name__,)),
        "bars": json_digest(
            {
                symbol: {str(key): bars.content_hash for key, bars in each.history.bars.items()}
                for symbol, each in sorted(members.items())
            }
        ),
    }
