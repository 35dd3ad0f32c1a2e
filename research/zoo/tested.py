"""What a test on the tail is written as, and how it is told: by regime, and against what knows no model."""

from __future__ import annotations

import math

from research.zoo.factor_score import smaller_in_words
from research.zoo.journal import Content
from research.zoo.release import TailTest


def tested_content(test: TailTest, *, wins: bool) -> Content:
    """Return the row of a test: plain JSON, None for what could not be worked out."""
    return {
        "wins": wins, "p_value": finite_or_none(test.p_value), "loss": finite_or_none(test.loss),
        "champion_loss": finite_or_none(test.champion_loss), "bars": test.champion.n,
        "z": finite_or_none(test.champion.z), "z_constant": finite_or_none(test.constant.z),
        "by_regime": {name: finite_or_none(each) for name, each in test.by_regime.items()},
        "linear_score": finite_or_none(test.linear), "factor": test.factor,
        "factor_score": finite_or_none(test.factor_loss),
    }  # fmt: skip


def improvement_note(change: str, tested: Content, reserved: Content) -> str:
    """Return the sentence that says how a version improves its parent."""
    return (
        f"{change}: loss on the sealed tail {_figure(tested['loss'])} after "
        f"{_figure(tested['champion_loss'])}, p {_figure(tested['p_value'], 2)} at level "
        f"{reserved['level']:.2g}, attempt {reserved['attempt']}"
    )


def attempt_line(reserved: Content, tested: Content, released: Content | None) -> str:
    """Return what an attempt came to, by regime and against the factor score.

    >>> reserved = {"attempt": 2, "level": 0.0076, "change": "with ret_20"}
    >>> tested = {
    ...     "loss": 0.15, "champion_loss": 0.17, "p_value": 0.2, "factor": "range of the last 20 bars",
    ...     "factor_score": 0.16, "linear_score": 0.155, "by_regime": {"bull": 0.03, "bear": None}}
    >>> attempt_line(reserved, tested, None).partition("; ")[0]
    'attempt 2, with ret_20: not released'
    """
    outcome = "not released" if released is None else f"released as {released['version']}"
    return (
        f"attempt {reserved['attempt']}, {reserved['change']}: {outcome}; loss {_figure(tested['loss'])} "
        f"after {_figure(tested['champion_loss'])}, p {_figure(tested['p_value'], 2)} at level "
        f"{reserved['level']:.2g}; factor score ({tested['factor']}) {_figure(tested['factor_score'])}, "
        f"linear score {_figure(tested['linear_score'])}; smaller by regime: "
        f"{smaller_in_words(tested['by_regime'])}"
    )


def finite_or_none(value: float) -> float | None:
    """Return a number as plain JSON has it.

    >>> finite_or_none(math.nan), finite_or_none(0.5)
    (None, 0.5)
    """
    return float(value) if math.isfinite(value) else None


def _figure(value: float | None, digits: int = 4) -> str:
    return "unknown" if value is None else f"{value:.{digits}g}"
