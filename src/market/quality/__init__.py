"""Quality of bars: what is legal but suspicious. Nothing is refused here, everything is said."""

from __future__ import annotations

from lockstep.market.quality.report import QualityReport as QualityReport
from lockstep.market.quality.report import assess as assess

__all__ = ["QualityReport", "assess"]
