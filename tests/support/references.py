"""A frozen reference that was put together by hand, and the evidence that names its file."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from lockstep.models.content import REPORTS, sha256_of
from lockstep.models.evidence import REFERENCE
from lockstep.models.manifest import VETO, Evidence
from lockstep.models.store import ModelStore
from lockstep.monitoring.feature_history import FeatureHistory
from lockstep.monitoring.frozen import ExpectedMeasures, FrozenReference
from lockstep.monitoring.reference import MonitoringReference
from lockstep.monitoring.reference_outcomes import ReferenceOutcomes, monitoring_reference
from lockstep.monitoring.regimes import RegimeReference, VolatilityFilter
from support.evidence import NOW

BUNDLE = "ab" * 32
_DAY = 86_400_000_000_000
_FIRST = int(np.datetime64("2010-01-04T21:00", "ns").astype(np.int64))


def reference_outcomes(count: int = 300, *, seed: int = 3, **changes: Any) -> ReferenceOutcomes:
    """Return outcomes of `count` trades, three days apart, of which about 62 % won."""
    rng = np.random.default_rng(seed)
    won = (rng.random(count) < 0.62).astype(np.int64)
    profits = np.where(won, rng.gamma(2.0, 50.0, count), -rng.gamma(2.0, 55.0, count))
    times = _FIRST + 3 * _DAY * np.arange(count, dtype=np.int64)
    values: dict[str, Any] = {
        "trade_times": times, "profits": profits, "signal_times": times,
        "probabilities": rng.uniform(0.5, 0.74, count), "won": won,
        "forecasts": profits / 200 + rng.normal(0, 1, count), "followings": profits,
    }  # fmt: skip
    return ReferenceOutcomes(**{**values, **changes})


def feature_history(sessions: int = 600, ids: tuple[str, ...] = ("rsi_2", "day_of_week")) -> FeatureHistory:
    """Return a history of an oscillator and a weekday; the oscillator is not known in the first two."""
    days = _weekdays(sessions)
    values = np.random.default_rng(5).uniform(0, 100, (sessions, len(ids)))
    values[:2, 0] = np.nan
    values[:, -1] = np.arange(sessions) % 5
    low, high = np.zeros(len(ids)), np.full(len(ids), 100.0)
    return FeatureHistory(ids=ids, sessions=days, values=values, low=low, high=high)


def _weekdays(count: int) -> Any:
    return np.busday_offset("2010-01-04", np.arange(count))


def expected_measures(**changes: Any) -> ExpectedMeasures:
    """Return measures of an account that earned something; it had no drawdown that could be measured."""
    values: dict[str, Any] = {
        "first": "2010-01-04", "last": "2012-06-29", "sessions": 627, "trades": 300, "capital": 100_000.0,
        "cagr": 0.04, "sharpe": 1.1, "max_drawdown_fraction": float("nan"), "win_rate": 0.62,
        "trades_per_year": 120.5, "worst_session": -0.01, "worst_session_pnl": -1_000.0,
        "worst_trade_pnl": -310.25,
    }  # fmt: skip
    return ExpectedMeasures(**{**values, **changes})


@functools.cache
def _streams(bundle: str) -> MonitoringReference:
    return monitoring_reference(reference_outcomes(), bundle=bundle, seed=1)


def frozen_reference(bundle: str = BUNDLE, **changes: Any) -> FrozenReference:
    """Return a reference with all its parts."""
    returns = np.random.default_rng(6).normal(0, 0.01, 400)
    calm = VolatilityFilter(mean=(0.0, 0.0), deviation=(0.01, 0.03), stay=(0.98, 0.95))
    days = _weekdays(600)
    asked = np.where(np.arange(600) % 3 == 0, 0.6, np.nan)[:, None]
    values: dict[str, Any] = {
        "outcomes": _streams(bundle),
        "features": feature_history(),
        "probabilities": FeatureHistory(
            ids=("probability",), sessions=days, values=asked, low=[0.0], high=[1.0], gaps=True
        ),
        "regime": RegimeReference.of(returns, calm),
        "expected": expected_measures(),
        "history_end": str(days[-1]),
    }
    return FrozenReference(bundle=bundle, **{**values, **changes})


def attach_reference(
    store: ModelStore, symbol: str, version: str, reference: FrozenReference | None = None, name: str = VETO
) -> FrozenReference:
    """Write a reference of a version, one made by hand by default, and attach it as validation would."""
    sha256 = store.manifest().entry(symbol, version, name).sha256
    found = reference or frozen_reference(sha256)
    path = store.folder / REPORTS / f"{symbol}_{version}-reference.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(found.text(), encoding="utf-8")
    evidence = Evidence(
        kind=REFERENCE, passed=True, bundle_sha256=sha256, issued=NOW,
        file=path.relative_to(store.folder).as_posix(), file_sha256=sha256_of(path.read_bytes()),
    )  # fmt: skip
    store.attach(symbol, version, evidence, by="me", now=NOW, name=name)
    return found
