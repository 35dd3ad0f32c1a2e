"""The gate: whether the winner of a search may be promoted, check by check.

The limits stand in the experiment's configuration; nothing here is a matter of taste at the time of judging.
A number that was not measured, or is nan, does not pass.

What a declared search found is tested against the maximum of all trials (`maximum.py`). A search that learned
from earlier results has no such test: its trials were not chosen without looking. It needs fresh evidence,
which it could not learn from: a null replay, forward evidence, or a hold-out that nobody has seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from lockstep.errors import ConfigError
from lockstep.settings import Settings

Searched = Literal["declared", "adaptive"]


MAXIMUM, FRESH = "maximum test", "fresh evidence"


class GateLimits(Settings):
    """What a winner must keep to; unknown fields are refused. Sharpe ratios are annual.

    max_sharpe_gap    largest admitted training - test Sharpe
    min_sharpe_ratio  smallest admitted test / training Sharpe, for a positive training Sharpe
    min_test_sharpe   the test Sharpe must be above this
    max_pbo           the probability of backtest overfitting must be below this: 50 % is already refused
    min_dsr           one minus the largest admitted p-value, of the maximum test as of a null replay: at most
                      1 - min_dsr of the winners that noise brings pass
    """

    max_sharpe_gap: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    min_sharpe_ratio: float = Field(default=0.7, ge=0, le=1, allow_inf_nan=False)
    min_test_sharpe: float = Field(default=0.0, allow_inf_nan=False)
    max_pbo: float = Field(default=0.5, ge=0, le=1)
    min_dsr: float = Field(default=0.95, gt=0, lt=1)

    @property
    def size(self) -> float:
        """The largest admitted p-value, (0, 1): 1 - min_dsr, without the rounding of the difference."""
        return round(1.0 - self.min_dsr, 12)


def hold_out_p_limit(look: int, size: float = 0.05) -> float:
    """Return the largest p-value that the `look`-th opening of a hold-out admits: size x 6 / (pi^2 look^2).

    The limits of all looks together add up to `size`, so that noise gets through with that probability at
    most, however often the hold-out is opened (a union bound; sum of 1 / k^2 = pi^2 / 6). ConfigError for a
    look before the first, or a size outside (0, 1).
    """
    if look < 1:
        raise ConfigError(f"look {look} at a hold-out: the first is 1; count them in the ledger")
    if not 0 < size < 1:
        raise ConfigError(f"size {size}: must be above 0 and below 1, such as 0.05")
    return size * 6.0 / (math.pi * look) ** 2


@dataclass(frozen=True, kw_only=True)
class GateEvidence:
    """What was measured of a winner.

    train_sharpe, test_sharpe   annual, in sample and out of sample
    trials          number of trials that the ledger counts on the family and dates, >= 1
    variants        those of this search, among which the winner was chosen, >= 1
    pbo             [0, 1], over all variants of the family whose blocks are kept; None where it could not be
                    measured, or where there was one trial only and hence no choice
    pooled          how many variants those are; 0 where they are those of this search
    gone            trials that the ledger counts, and whose blocks were deleted with their experiments
    p_value         of the winner after all trials of the family: (0, 1], nan where it was not measured
    dsr             deflated Sharpe ratio, [0, 1]: displayed, never judged
    searched        `declared`, or `adaptive` where the search could learn from earlier results
    replay_p        p-value of the null replay of exactly this search and winner, (0, 1]; None without one
    forward         evidence from bars that were first seen after the registration, as a multiple of what a
                    promotion needs, >= 0; None where nothing was registered
    hold_out_p      p-value of the winner on the hold-out alone, (0, 1]; None while it is sealed
    hold_out_look   which look at the hold-out that was, >= 1
    train_of, test_of   what the Sharpe ratios are of, in words: the dates, said in the sentences
    """

    train_sharpe: float
    test_sharpe: float
    trials: int
    variants: int
    pbo: float | None
    p_value: float
    dsr: float = math.nan
    pooled: int = 0
    gone: int = 0
    searched: Searched = "declared"
    replay_p: float | None = None
    forward: float | None = None
    hold_out_p: float | None = None
    hold_out_look: int = 1
    train_of: str = ""
    test_of: str = ""

    def __post_init__(self) -> None:
        if self.variants < 1:
            raise ConfigError(f"variants {self.variants}: at least the one that is judged")
        if self.trials < self.variants:
            raise ConfigError(f"trials {self.trials}: not even the {self.variants} judged; read the ledger")
        if self.searched not in ("declared", "adaptive"):
            raise ConfigError(f"searched {self.searched!r}: must be declared or adaptive; the ledger knows")
        if self.forward is not None and self.forward < 0:
            raise ConfigError(
                f"forward {self.forward}: is a multiple of what is needed; must not be negative"
            )
        for name in ("pbo", "p_value", "dsr", "replay_p", "hold_out_p"):
            value = getattr(self, name)
            if value is not None and (value < 0 or value > 1):
                raise ConfigError(f"{name} {value}: is a probability; must lie in [0, 1]")


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check: its name, the value measured (nan if none), the limit, the outcome, and a sentence.

    applies   False where the question makes no sense of what is judged: such a check neither passes nor fails
    """

    name: str
    value: float
    limit: float
    passed: bool
    sentence: str
    applies: bool = True


@dataclass(frozen=True, kw_only=True)
class GateVerdict:
    """Every check in a fixed order."""

    checks: tuple[Check, ...]

    @property
    def applicable(self) -> tuple[Check, ...]:
        """The checks that apply."""
        return tuple(check for check in self.checks if check.applies)

    @property
    def passed(self) -> bool:
        """Whether all checks that apply passed; a verdict without any that applies has not."""
        return bool(self.applicable) and not self.refusals

    @property
    def refusals(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.applicable if not check.passed)

    @property
    def awaits_hold_out(self) -> bool:
        """Whether fresh evidence is all that is missing: an unseen hold-out may still give it."""
        return [check.name for check in self.refusals] == [FRESH]

    def __str__(self) -> str:
        if self.passed:
            return f"passed all {len(self.applicable)} checks"
        return "; ".join(check.sentence for check in self.refusals) or "nothing was checked"


def judge(evidence: GateEvidence, limits: GateLimits | None = None) -> GateVerdict:
    """Return the verdict on `evidence`; the default limits are those of `GateLimits`."""
    bounds = limits or GateLimits()
    return GateVerdict(
        checks=(
            _gap(evidence, bounds.max_sharpe_gap),
            _ratio(evidence, bounds.min_sharpe_ratio),
            _test(evidence, bounds.min_test_sharpe),
            _pbo(evidence, bounds.max_pbo),
            _maximum(evidence, bounds.size),
            _fresh(evidence, bounds.size),
        )
    )


def _check(name: str, value: float, limit: float, passed: bool, sentence: str, why: str = "") -> Check:
    if math.isnan(value):
        unmeasured = f"{name} was not measured{f': {why}' if why else ''}"
        return Check(name=name, value=value, limit=limit, passed=False, sentence=unmeasured)
    return Check(name=name, value=value, limit=limit, passed=passed, sentence=sentence)


def _percent(value: float) -> str:
    """Return a small probability with two digits that count: `5%`, `0.76%`."""
    return f"{100.0 * value:.2g}%"


def _dated(what: str) -> str:
    return f", {what}" if what else ""


def _gap(evidence: GateEvidence, limit: float) -> Check:
    value = evidence.train_sharpe - evidence.test_sharpe
    sentence = (
        f"the Sharpe ratio falls by {value:.2f} from training ({evidence.train_sharpe:.2f}"
        f"{_dated(evidence.train_of)}) to test ({evidence.test_sharpe:.2f}{_dated(evidence.test_of)}); "
        f"at most {limit:g} is admitted"
    )
    return _check("Sharpe gap", value, limit, value <= limit, sentence)


def _ratio(evidence: GateEvidence, limit: float) -> Check:
    train, test = evidence.train_sharpe, evidence.test_sharpe
    if train <= 0:
        value, passed = 0.0 * test, True
        sentence = f"the training Sharpe ratio {train:.2f} is not positive: a ratio to it says nothing"
    else:
        value = test / train
        passed = test >= limit * train
        sentence = f"the test keeps {value:.0%} of the training Sharpe ratio; at least {limit:.0%} is needed"
    return _check("Sharpe ratio kept", value, limit, passed, sentence)


def _test(evidence: GateEvidence, limit: float) -> Check:
    value = evidence.test_sharpe
    sentence = f"the test Sharpe ratio is {value:.2f}{_dated(evidence.test_of)}; it must be above {limit:g}"
    return _check("test Sharpe", value, limit, value > limit, sentence)


def _pbo(evidence: GateEvidence, limit: float) -> Check:
    if evidence.pbo is None and evidence.trials == 1:
        return _check("PBO", 0.0, limit, True, "one variant was tried: no choice that could overfit")
    value = math.nan if evidence.pbo is None else evidence.pbo
    gone = f"the blocks of {evidence.gone:,} trials are gone with their experiments" if evidence.gone else ""
    sentence = (
        f"choosing the best of {evidence.pooled or evidence.variants:,} variants fails out of sample with a "
        f"probability of {value:.0%}; it must be below {limit:.0%}{f' ({gone})' if gone else ''}"
    )
    return _check("PBO", value, limit, value < limit, sentence, why=gone)


def _maximum(evidence: GateEvidence, limit: float) -> Check:
    if evidence.searched == "adaptive":
        sentence = "not valid here: the search learned from earlier results"
        return Check(
            name=MAXIMUM, value=math.nan, limit=limit, passed=False, sentence=sentence, applies=False
        )
    value = evidence.p_value
    sentence = (
        f"the best of {evidence.trials:,} trials without skill does as well with a probability of "
        f"{_percent(value)}; at most {_percent(limit)} is admitted"
    )
    return _check(MAXIMUM, value, limit, value <= limit, sentence)


def _fresh(evidence: GateEvidence, size: float) -> Check:
    """Judge what a search that learns could not learn from: the first that is enough, or all are said."""
    if evidence.searched == "declared":
        sentence = "not needed here: what was searched was declared before any result"
        return Check(name=FRESH, value=math.nan, limit=size, passed=False, sentence=sentence, applies=False)
    found = [*_replayed(evidence, size), *_forward(evidence), *_unseen(evidence, size)]
    for value, limit, passed, sentence in found:
        if passed:
            return Check(name=FRESH, value=value, limit=limit, passed=True, sentence=sentence)
    needed = "it needs a null replay, forward evidence, or a hold-out that nobody has seen"
    said = "".join(f"; {sentence}" for *_, sentence in found)
    value, limit = found[0][:2] if found else (math.nan, size)
    sentence = f"the search learned from earlier results: {needed}{said}"
    return Check(name=FRESH, value=value, limit=limit, passed=False, sentence=sentence)


_Outcome = tuple[float, float, bool, str]


def _replayed(evidence: GateEvidence, size: float) -> Iterator[_Outcome]:
    if (value := evidence.replay_p) is not None:
        sentence = f"searches on shifted decisions do as well with a probability of {_percent(value)}"
        yield value, size, value <= size, f"{sentence}; at most {_percent(size)} is admitted"


def _forward(evidence: GateEvidence) -> Iterator[_Outcome]:
    if (value := evidence.forward) is not None:
        sentence = f"the forward evidence is {value:.2f} times what a promotion needs"
        yield value, 1.0, value >= 1.0, sentence


def _unseen(evidence: GateEvidence, size: float) -> Iterator[_Outcome]:
    if (value := evidence.hold_out_p) is not None:
        limit = hold_out_p_limit(evidence.hold_out_look, size)
        opened = f"look {evidence.hold_out_look} at the hold-out"
        sentence = f"{opened}: noise does as well with a probability of {_percent(value)}"
        yield value, limit, value <= limit, f"{sentence}; at most {_percent(limit)} is admitted"
