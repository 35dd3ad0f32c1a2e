"""What the validation report says of the frozen reference: what a desk will be held to, and how well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from markupsafe import Markup

from lockstep.monitoring.drift_baseline import FEWEST_YEARS, DriftBaseline
from lockstep.monitoring.feature_history import FeatureHistory
from lockstep.monitoring.frozen import FrozenReference
from lockstep.monitoring.reference import StreamReference
from lockstep.monitoring.regimes import NAMES
from research.report.page import count, joined, notes, percent, prose, ratio, table, usd

_WRITTEN: dict[str, tuple[str, Callable[[float], str]]] = {
    "win_rate": ("win rate", percent),
    "pnl": ("mean P&L of a trade", usd),
    "calibration": ("wins beyond what was predicted", percent),
    "ic": ("information coefficient", lambda value: ratio(value, 3)),
}


def reference_facts(reference: FrozenReference) -> dict[str, Any]:
    """Return what was frozen in short, as plain JSON values; floors and estimates in the streams' units."""
    return {
        "digest": reference.digest,
        "streams": {
            each.stream: {
                "floor": each.natural(each.floor),
                "estimate": each.natural(each.estimate),
                "outcomes": each.outcomes,
                "per_year": each.per_year,
            }
            for each in reference.outcomes.streams
        },
        "off": list(reference.outcomes.off),
        "features": _history_facts(reference.features),
        "probabilities": _history_facts(reference.probabilities),
        "regimes": _shares(reference),
        "absent": list(reference.absent),
    }


def _history_facts(history: FeatureHistory | None) -> dict[str, Any] | None:
    if history is None:
        return None
    return {"columns": len(history.ids), "sessions": len(history), "years": DriftBaseline.of(history).years}


def _shares(reference: FrozenReference) -> dict[str, float] | None:
    return None if reference.regime is None else dict(zip(NAMES, reference.regime.shares, strict=True))


def reference_card(reference: FrozenReference | None, unfrozen: str) -> Markup:
    """Return the streams with their floors, then a sentence for each other part.

    unfrozen   why there is no reference, a sentence
    """
    if reference is None:
        return notes([unfrozen])
    streams = reference.outcomes.streams
    head = ("stream", "floor", "estimate", "outcomes", "a year")
    shown = table(head, map(_row, streams)) if streams else ""
    return joined(shown, notes([*(f"Off: {each}" for each in _absent(reference)), *_sentences(reference)]))


def _row(stream: StreamReference) -> tuple[str, ...]:
    name, written = _WRITTEN[stream.stream]
    floor, estimate = (written(stream.natural(each)) for each in (stream.floor, stream.estimate))
    return (prose(name), floor, estimate, count(stream.outcomes), count(stream.per_year))


def _absent(reference: FrozenReference) -> tuple[str, ...]:
    return (*reference.outcomes.off, *reference.absent)


def _sentences(reference: FrozenReference) -> list[str]:
    found = []
    for what, history in (("features", reference.features), ("probabilities", reference.probabilities)):
        if history is not None:
            found.append(f"Drift of {what}: {_rate(history)}")
    if reference.expected.brier is not None:
        found.append(f"Brier score of all out-of-sample signals: {ratio(reference.expected.brier, 3)}.")
    if reference.regime is not None:
        shares = "; ".join(f"{name} {percent(share)}" for name, share in (_shares(reference) or {}).items())
        found.append(f"Regimes of {count(reference.regime.sessions)} sessions: {shares}.")
    return found


def _rate(history: FeatureHistory) -> str:
    baseline = DriftBaseline.of(history)
    kept = f"{count(len(history))} sessions up to {history.sessions[-1]}"
    if not baseline.years:
        return f"{kept}, less than two whole years: no rate can be stated."
    weak = "" if baseline.years >= FEWEST_YEARS else f", a watch and no warning below {FEWEST_YEARS} years"
    return (
        f"{kept}, {baseline.years} whole years: false in 1 year of {baseline.years + 1} without drift{weak}."
    )
