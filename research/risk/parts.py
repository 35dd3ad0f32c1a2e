"""The parts of the risk page that come with Lockstep, in their order. Importing this module plugs them."""

from __future__ import annotations

from research.risk.factors import Factors
from research.risk.regimes import Regimes
from research.risk.section import RISK_PARTS, measured_parts

__all__ = ["measured_parts"]

RISK_PARTS.register(Regimes())
RISK_PARTS.register(Factors())
