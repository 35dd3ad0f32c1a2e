"""Forward evidence of every candidate of a large desk, as the nightly asks for it."""

from __future__ import annotations

import numpy as np

from benchmarks.measure import Measured, seconds
from lockstep.monitoring.eprocess import e_detector, e_process, standardised

_CANDIDATES, _SESSIONS = 500, 750


def evidence() -> Measured:
    """Measure residual, evidence and detector of 500 candidates over three years."""
    random = np.random.default_rng(1)
    returns = 0.01 * random.standard_t(5, (_CANDIDATES, _SESSIONS))
    market = 0.01 * random.standard_t(5, _SESSIONS)
    beta, sigma = random.random(_CANDIDATES), np.full(_CANDIDATES, 0.01)

    def night() -> None:
        x = standardised(returns, market, beta=beta, sigma=sigma)
        e_process(x)
        e_detector(x)

    return Measured(
        what=f"forward evidence, {_CANDIDATES} candidates x {_SESSIONS} sessions",
        value=seconds(night),
        unit="s",
        promise=1.0,
        note="residual, e-process and e-detector",
    )
