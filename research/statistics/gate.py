"""The gate: whether the winner of a search may be promoted, check by check.

The limits stand in the experiment's configuration; nothing here is a matter of taste at the time of judging.
A number that was not measured, or is nan, does not pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pydantic import Field

from lockstep.errors import ConfigError
from lockstep.settings import Settings


class GateLimits(Settings):
    """What a winner must keep to; unknown fields are refused. Sharpe ratios are annual.

    max_sharpe_gap    largest admitted training - test Sharpe
    min_sharpe_ratio  smallest admitted test / training Sharpe, for a positive training Sharpe
    min_test_sharpe   the test Sharpe must be above this
    max_pbo           the probability of backtest overfitting must be below this: 50 % is already refused
    min_dsr           smallest admitted deflated Sharpe ratio. On noise at most 1 - min_dsr of winners pass
    """

    max_sharpe_gap: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    min_sharpe_ratio: float = Field(default=0.7, ge=0, le=1, allow_inf_nan=False)
    min_test_sharpe: float = Field(default=0.0, allow_inf_nan=False)
    max_pbo: float = Field(default=0.5, ge=0, le=1)
    min_dsr: float = Field(default=0.95, gt=0, lt=1)


@dataclass(frozen=True, kw_only=True)
class GateEvidence:
    """What was measured of a winner.

    train_sharpe, test_sharpe   annual, in sample and out of sample
    trials                      number of trials that the ledger counts on the family and dates, >= 1
    variants                    those of this search, among which the winner was chosen, >= 1
    pbo                         [0, 1]; None where there was one trial only and hence no choice
    dsr                         deflated Sharpe ratio, [0, 1], from the effective number of trials
    train_of, test_of           what the Sharpe ratios are of, in words: the dates, said in the sentences
    """

    train_sharpe: float
    test_sharpe: float
    trials: int
    variants: int
    pbo: float | None
    dsr: float
    train_of: str = ""
    test_of: str = ""

    def __post_init__(self) -> None:
        if self.variants < 1:
            raise ConfigError(f"variants {self.variants}: at least the one that is judged")
        if self.trials < self.variants:
            raise ConfigError(f"trials {self.trials}: not even the {self.variants} judged; read the ledger")
        for name, value in (("pbo", self.pbo), ("dsr", self.dsr)):
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
            _dsr(evidence, bounds.min_dsr),
        )
    )


def _check(name: str, value: float, limit: float, passed: bool, sentence: str) -> Check:
    if math.isnan(value):
        return Check(name=name, value=value, limit=limit, passed=False, sentence=f"{name} was not measured")
    return Check(name=name, value=value, limit=limit, passed=passed, sentence=sentence)


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
    if evidence.pbo is None and evidence.variants == 1:
        return _check("PBO", 0.0, limit, True, "one variant was tried: no choice that could overfit")
    value = math.nan if evidence.pbo is None else evidence.pbo
    sentence = (
        f"choosing the best of {evidence.variants:,} variants fails out of sample with a probability of "
        f"{value:.0%}; it must be below {limit:.0%}"
    )
    return _check("PBO", value, limit, value < limit, sentence)


def _dsr(evidence: GateEvidence, limit: float) -> Check:
    value = evidence.dsr
    sentence = (
        f"after {evidence.trials:,} trials the probability of skill is {value:.1%}; "
        f"at least {limit:.1%} is needed"
    )
    return _check("deflated Sharpe", value, limit, value >= limit, sentence)
