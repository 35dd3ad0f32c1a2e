"""One instrument: paper beside the backtest of the same bars, and beside the bands of validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from lockstep.errors import ParityError
from lockstep.market.history import Market
from lockstep.market.sessions import Dates
from lockstep.metrics import Integers
from lockstep.monitoring.parity import ACCOUNT, EngineStep, ParityComparison, ParityDifference, compare
from research.paper.bands import STATISTICS, AccountStretch, Fan, Sessions, bands, drawn_runs, fan
from research.paper.verdict import Equality, InstrumentComparison, Reference

LEAST_SESSIONS = 5
HALF_A_CENT = 0.005


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Bars that one bundle decided from a flat start, in paper and in the backtest.

    paper      as recorded; backtest   of the same bundle over the same bars
    ids        of the vector
    uncompared stamps of bars whose orders are not compared: the gateway refused one
    """

    sha256: str
    version: str
    ids: tuple[str, ...]
    paper: AccountStretch
    backtest: AccountStretch
    uncompared: frozenset[int] = frozenset()


@dataclass(frozen=True, kw_only=True)
class PaperCase:
    """One instrument to be compared.

    segments    in their order; left_out   bars between them: a position that no backtest can begin with
    refused     orders that the gateway refused, by rule
    reference   the validation backtest; seen   whether the model was fitted on some of it
    """

    market: Market
    capital: float
    segments: Sequence[Segment]
    left_out: int
    refused: Mapping[str, int]
    reference: AccountStretch
    seen: bool
    dates_of: Callable[[Integers], Dates]

    def sessions(self, stretches: Sequence[AccountStretch]) -> Sessions:
        """Return stretches of this instrument as sessions."""
        return Sessions.of(
            stretches,
            self.dates_of,
            multiplier=self.market.instrument.multiplier,
            capital=self.capital,
            per_year=self.market.session.template.sessions_per_year,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Curves:
    """What the report draws of one instrument: sessions of both, and the fan of resampled runs."""

    paper: Sessions
    backtest: Sessions
    fan: Fan


def compare_instrument(
    case: PaperCase, *, level: float, resamples: int, seed: int, instruments: int = 1
) -> tuple[InstrumentComparison, Curves]:
    """Compare one instrument of a desk that trades `instruments`.

    ParityError where fewer than five sessions can be compared; DataError where the reference is shorter than
    the run.
    """
    symbol = case.market.instrument.symbol
    paper = case.sessions([each.paper for each in case.segments])
    if len(paper) < LEAST_SESSIONS:
        raise ParityError(
            f"{symbol}: {len(paper)} sessions to compare, needed are {LEAST_SESSIONS}; let it run longer"
        )
    backtest = case.sessions([each.backtest for each in case.segments])
    reference = case.sessions([case.reference])
    rows, block = drawn_runs(reference, len(paper), resamples=resamples, seed=seed)
    judged = bands(
        paper, backtest, reference, rows, level=level, judged_at_once=len(STATISTICS) * instruments
    )
    found = InstrumentComparison(
        symbol=symbol,
        versions=tuple(each.version for each in case.segments),
        start=str(paper.dates[0]),
        end=str(paper.dates[-1]),
        sessions=len(paper),
        left_out=case.left_out,
        refused=dict(sorted(case.refused.items())),
        equality=equality(case.segments),
        paper_pnl=float(paper.pnl.sum()),
        backtest_pnl=float(backtest.pnl.sum()),
        paper_trades=int(paper.closed.sum()),
        backtest_trades=int(backtest.closed.sum()),
        bands=judged,
        reference=Reference(
            start=str(reference.dates[0]), end=str(reference.dates[-1]), sessions=len(reference),
            block=block, seen_in_training=case.seen,
        ),
    )  # fmt: skip
    return found, Curves(paper=paper, backtest=backtest, fan=fan(reference, rows))


def equality(segments: Sequence[Segment]) -> Equality:
    """Compare segments: vectors, probabilities, decisions, orders, fills bit for bit, P&L to the cent."""
    found = ParityComparison()
    for each in segments:
        found += _compared(each)
    first = found.first
    return Equality(
        bars=found.bars,
        vectors=found.vectors,
        probabilities=found.probabilities,
        decisions=found.decisions,
        orders=found.orders,
        fills=found.fills,
        marks=found.marks,
        different=found.different,
        kind=first.kind if first else "",
        first=str(first) if first else "",
    )


def _compared(segment: Segment) -> ParityComparison:
    """Compare one segment. Accounts go on over swaps and epochs, so that only their changes can be equal."""
    paper = [_without(step, segment.uncompared) for step in segment.paper.steps]
    backtest = [_without(step, frozenset()) for step in segment.backtest.steps]
    found = compare(paper, backtest, segment.ids)
    ours, theirs = (
        dict(zip((step.stamp for step in each.steps), each.pnl.tolist(), strict=True))
        for each in (segment.paper, segment.backtest)
    )
    shared = [stamp for stamp in ours if stamp in theirs]
    found.marks = len(shared)
    apart = next((each for each in shared if abs(ours[each] - theirs[each]) >= HALF_A_CENT), None)
    if apart is not None and not found.different:
        found.different += 1
        found.differences.append(_cents(segment, apart, ours[apart], theirs[apart]))
    return found


def _cents(segment: Segment, stamp: int, paper: float, backtest: float) -> ParityDifference:
    return ParityDifference(
        kind=ACCOUNT,
        symbol=segment.paper.steps[0].symbol,
        stamp=stamp,
        where="P&L since the start",
        first=f"{paper:.2f}",
        second=f"{backtest:.2f}",
    )


def _without(step: EngineStep, uncompared: frozenset[int]) -> EngineStep:
    orders = None if step.stamp in uncompared else step.orders
    return replace(step, mark=None, orders=orders)
