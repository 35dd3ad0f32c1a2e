"""Gradual roll-out: stages of size that an operator advances, on the evidence of a paper comparison."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from lockstep.errors import ConfigError, LiveError
from lockstep.live.events import RolloutMoved
from lockstep.live.messages import Mode, OrderIntent, Refusal
from lockstep.live.units import SmallerUnit, declared_units
from lockstep.market.config import InstrumentBook
from lockstep.market.instrument import traded_symbol
from lockstep.market.schedule import DAY
from lockstep.settings import Settings

_WHOLE = 1e-9


class RolloutStage(Settings):
    """From day `from_day` of the roll-out at the earliest: orders are logged, or sent in part.

    from_day   1 is the day of the start; mode   `shadow` sends nothing; fraction   of the decided size
    units      smaller contract by traded symbol, such as `ES: MES`, in which entries leave; see `units.py`
    """

    from_day: Annotated[int, Field(ge=1)]
    mode: Literal["shadow", "live"]
    fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    units: Mapping[str, str] = {}

    @property
    def spelled(self) -> str:
        """The stage in words."""
        sent = "shadow" if self.mode == "shadow" else f"live with {self.fraction:.0%} of the size"
        return f"{sent}{self.in_units}"

    @property
    def in_units(self) -> str:
        """What leaves in smaller units, in words to follow others, or empty."""
        return "".join(f", {symbol} as {unit}" for symbol, unit in sorted(self.units.items()))


class Rollout(Settings):
    """Stages in their order, and the days of watch after every promotion of a model."""

    stages: tuple[RolloutStage, ...] = (
        RolloutStage(from_day=1, mode="shadow"),
        RolloutStage(from_day=8, mode="live", fraction=0.1),
        RolloutStage(from_day=15, mode="live", fraction=0.5),
        RolloutStage(from_day=31, mode="live", fraction=1.0),
    )
    watch_days: Annotated[int, Field(ge=0)] = 7

    @model_validator(mode="after")
    def _rising(self) -> Self:
        days = [stage.from_day for stage in self.stages]
        if not days or days[0] != 1 or any(b <= a for a, b in itertools.pairwise(days)):
            raise ValueError(f"stages begin on days {days}: the first must be 1 and each later than the last")
        return self

    def smaller_units(self, traded: Iterable[str], book: InstrumentBook) -> dict[str, SmallerUnit]:
        """Return every smaller unit that a stage names, by its symbol; ConfigError as of `declared_units`.

        traded   symbols, or names of lanes that trade them
        """
        names = list(traded)
        symbols = set(map(traded_symbol, names))
        for symbol in sorted({symbol for each in self.stages for symbol in each.units} & symbols):
            if symbol not in names:
                raise ConfigError(
                    f"rollout: units: {symbol} is an ensemble, which trades in modes paper and shadow, in "
                    "contracts of the instrument itself; take it out"
                )
        return declared_units([each.units for each in self.stages], symbols, book)


class RolloutStep(NamedTuple):
    """A recorded move of the operator to a stage (index from 0). comparison: its hash, or empty."""

    time: int
    stage: int
    comparison: str
    reason: str

    @classmethod
    def of(cls, event: RolloutMoved) -> RolloutStep:
        """Return the step that an event recorded."""
        return cls(event.time, event.stage, event.comparison, event.reason)


class PaperVerdict(NamedTuple):
    """The verdict of paper against backtest: hash of its report, when it was made (UTC ns)."""

    digest: str
    time: int
    passed: bool


def stage(rollout: Rollout, steps: Sequence[RolloutStep]) -> tuple[int, RolloutStage]:
    """Return the present stage with its index. Only recorded steps move it, the calendar never does."""
    index = steps[-1].stage if steps else 0
    if not 0 <= index < len(rollout.stages):
        raise LiveError(
            f"roll-out: stage {index} is recorded, configured are {len(rollout.stages)}; see journal"
        )
    return index, rollout.stages[index]


def require_mode(rollout: Rollout, steps: Sequence[RolloutStep], mode: Mode) -> None:
    """Refuse (LiveError) to go live in a stage that only writes orders down."""
    index, present = stage(rollout, steps)
    if mode == "live" and present.mode == "shadow":
        raise LiveError(f"roll-out: stage {index + 1} is shadow; start with --mode shadow, or advance")


def advance(
    rollout: Rollout,
    steps: Sequence[RolloutStep],
    *,
    started: int,
    promotions: Sequence[int] = (),
    comparison: PaperVerdict | None,
    now: int,
    reason: str,
) -> RolloutStep:
    """Return the step to the next stage, to be recorded.

    started, promotions, now: UTC ns of the roll-out's start, of every promotion, and of this request.
    LiveError where there is no next stage, its day has not come, a watch is running, or the newest
    comparison failed or is older than the present stage.
    """
    index, _ = stage(rollout, steps)
    if index + 1 == len(rollout.stages):
        raise LiveError("roll-out: the last stage is reached; there is nothing to advance to")
    following, day = rollout.stages[index + 1], (now - started) // DAY + 1
    if day < following.from_day:
        raise LiveError(f"roll-out: day {day}; the next stage begins on day {following.from_day}: wait")
    if watching(rollout, promotions, now):
        raise LiveError(
            f"roll-out: a model was promoted less than {rollout.watch_days} days ago; watch it first"
        )
    since = steps[-1].time if steps else started
    return RolloutStep(now, index + 1, _evidence(comparison, since), reason)


def _evidence(comparison: PaperVerdict | None, since: int) -> str:
    if comparison is None or comparison.time < since:
        raise LiveError("roll-out: no paper comparison of this stage; run lockstep compare paper")
    if not comparison.passed:
        raise LiveError(f"roll-out: paper comparison {comparison.digest} did not pass; stay, or step back")
    return comparison.digest


def step_back(rollout: Rollout, steps: Sequence[RolloutStep], *, now: int, reason: str) -> RolloutStep:
    """Return the step to the stage before, which needs no evidence; LiveError at the first stage."""
    index, _ = stage(rollout, steps)
    if index == 0:
        raise LiveError("roll-out: the first stage; nothing is sent there. To stop all, make the HALT file")
    return RolloutStep(now, index - 1, "", reason)


def watching(rollout: Rollout, promotions: Sequence[int], now: int) -> bool:
    """Return whether the newest promotion (UTC ns) is less than the days of watch ago."""
    return bool(promotions) and now - max(promotions) < rollout.watch_days * DAY


class Trades(NamedTuple):
    """What an instrument usually trades: contracts, and the step in which they can be traded."""

    size: float
    step: float


def require_sizes(
    rollout: Rollout,
    index: int,
    trades: Mapping[str, Trades],
    units: Mapping[str, SmallerUnit] | None = None,
) -> None:
    """Refuse (ConfigError) a live stage, from stage `index` on, that would send nothing of an instrument.

    trades   by symbol; one whose size is not known yet is left out; units   of the roll-out, by their symbols
    """
    for number, each in enumerate(rollout.stages[index:], start=index + 1):
        for symbol, (size, whole) in trades.items() if each.mode == "live" else ():
            unit = (units or {}).get(each.units.get(symbol, ""))
            if _portion(size, each.fraction, whole, unit):
                continue
            step = whole if unit is None else unit.contracts(unit.step)
            needed = math.ceil(1 / each.fraction - _WHOLE) * step
            usual = f"{size:g} contract{'' if size == 1 else 's'}"
            raise ConfigError(
                f"roll-out: stage {number} is live with {each.fraction:.0%} of the size; {symbol} usually "
                f"trades {usual}, and that share is less than its step of {step:g}: nothing would be sent. "
                f"Raise the stage's fraction, trade at least {needed:g} contracts, or let the stage send a "
                f"smaller one, such as the micro: `units: {{{symbol}: ...}}`"
            )


def scaled(intent: OrderIntent, fraction: float, step: float) -> OrderIntent | Refusal:
    """Return an entry at `fraction` of its size, rounded down to whole steps; exits as they are.

    step   of the instrument, in contracts; an order with a unit is rounded to steps of the unit

    A size of 0 is a Refusal by the rule `rollout`.
    """
    if not intent.opens or fraction == 1.0:
        return intent
    quantity = _portion(intent.quantity, fraction, step, intent.unit)
    if not quantity:
        least = f"{step:g}" if intent.unit is None else f"{intent.unit.step:g} {intent.unit.symbol}"
        detail = f"{fraction:.0%} of {abs(intent.quantity):g} contracts is less than {least}"
        return Refusal(intent.order_id, "rollout", detail)
    return replace(intent, quantity=quantity, terms=(quantity, *intent.terms[1:]))


def _portion(quantity: float, fraction: float, step: float, unit: SmallerUnit | None) -> float:
    """Return what is left of a quantity, signed: a whole number of steps, rounded down."""
    if unit is not None:
        return unit.portion(quantity, fraction)
    return math.copysign(math.floor(abs(quantity) * fraction / step + _WHOLE) * step, quantity)
