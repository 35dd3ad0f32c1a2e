"""Limits that a version must keep to: those of a model, and those of a strategy without one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, model_validator

from lockstep.settings import Settings

Share = Annotated[float, Field(ge=0, le=1)]


class Acceptance(Settings):
    """Limits that a model must keep to; what each is about, and on which data, stands with its check.

    min_trades, min_sharpe, min_profit_factor   of the filtered strategy over the outer windows
    max_drawdown            largest loss from a peak, share of the configured capital
    min_gain                the lower end of the 90 % interval of the annual gain must be above it, share of
                            the capital; the gain is filtered minus unfiltered at the same exposure
    max_random_veto_p       p-value of the gain among vetoes that draw lots
    max_area_p              p-value of the area under the ROC curve against .5
    min_gain_kept           Sharpe ratio of the gain out of sample over the one in sample
    min_dsr                 deflated Sharpe ratio of the gain (probability)
    max_shifted_errors      standard errors by which labels that were shifted may be ranked better than chance
    min_veto_share          of the signals that are vetoed, and of those that pass
    max_calibration_z       Spiegelhalter's z, either way
    min_brier_skill         of the probabilities against the base rate of each window's training
    max_importance_share    of one feature in the sum of positive importances
    min_probability_spread  between the 5 % and the 95 % quantile of the probabilities
    max_challenger_deficit  standard errors by which the Sharpe ratio may lie below that of production
    min_hold_out_sharpe     annual Sharpe ratio of the gain on the hold-out
    """

    min_trades: Annotated[int, Field(ge=1)] = 50
    min_sharpe: float = 0.3
    min_profit_factor: float = 1.1
    max_drawdown: Share = 0.25
    min_gain: float = 0.0
    max_random_veto_p: Share = 0.05
    max_area_p: Share = 0.05
    min_gain_kept: float = 0.3
    min_dsr: Share = 0.95
    max_shifted_errors: float = 2.0
    min_veto_share: Share = 0.05
    max_calibration_z: float = 2.58
    min_brier_skill: float = 0.0
    max_importance_share: Share = 0.4
    min_probability_spread: Share = 0.02
    max_challenger_deficit: float = 1.0
    min_hold_out_sharpe: float = 0.0

    @model_validator(mode="before")
    @classmethod
    def _of_today(cls, content: Any) -> Any:
        return _refuse_former(content, FORMER_LIMITS)


def loosened(limits: Settings) -> tuple[str, ...]:
    """Return each limit that is looser than the shipped one, with both: `min_dsr 0 (shipped 0.95)`."""
    found = []
    for name, field in type(limits).model_fields.items():
        own, shipped = getattr(limits, name), field.default
        if own > shipped if name.startswith("max_") else own < shipped:
            found.append(f"{name} {own:g} (shipped {shipped:g})")
    return tuple(found)


# Limits of earlier versions, and what is judged in their place. Records of trainings hold them.
_CHALLENGER = "max_challenger_deficit, in standard errors"
FORMER_LIMITS: Mapping[str, str] = {
    "min_sharpe_ratio": "min_gain_kept: the gain is compared, in and out of sample",
    "max_pbo": "min_gain: the outer walk-forward judges the choice among the steps too",
    "max_shuffled_auc": "max_shifted_errors, in standard errors",
    "max_share_shift": "min_veto_share",
    "max_calibration_error": "max_calibration_z and min_brier_skill",
    "min_challenger_edge": _CHALLENGER,
}
FORMER_RELEASE_LIMITS: Mapping[str, str] = {"min_challenger_edge": _CHALLENGER}


def _refuse_former(content: Any, former: Mapping[str, str]) -> Any:
    """Refuse a limit of an earlier version, naming what took its place."""
    for name in former.keys() & (content if isinstance(content, dict) else {}):
        raise ValueError(f"{name}: is no limit any more; use {former[name]}")
    return content


def without_former(content: Mapping[str, Any], former: Mapping[str, str]) -> dict[str, Any]:
    """Return the content of a record without limits of earlier versions: today's defaults apply."""
    limits = content.get("acceptance")
    if not isinstance(limits, dict):
        return dict(content)
    return {**content, "acceptance": {name: each for name, each in limits.items() if name not in former}}


class StrategyAcceptance(Settings):
    """Limits that a strategy without a model must keep to, on the dates before the hold-out.

    min_trades, min_sharpe, min_profit_factor, max_drawdown   as of `Acceptance`
    min_half_sharpe         of the worse half of the sessions
    min_costly_sharpe       with twice the commission and twice the slippage
    min_dsr                 deflated Sharpe ratio (probability)
    max_challenger_deficit  as of `Acceptance`
    min_hold_out_sharpe     on the hold-out
    """

    min_trades: Annotated[int, Field(ge=1)] = 50
    min_sharpe: float = 0.3
    min_profit_factor: float = 1.1
    max_drawdown: Share = 0.25
    min_half_sharpe: float = 0.0
    min_costly_sharpe: float = 0.0
    min_dsr: Share = 0.95
    max_challenger_deficit: float = 1.0
    min_hold_out_sharpe: float = 0.0

    @model_validator(mode="before")
    @classmethod
    def _of_today(cls, content: Any) -> Any:
        return _refuse_former(content, FORMER_RELEASE_LIMITS)
