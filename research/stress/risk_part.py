"""Stress on the risk page of a portfolio; importing this module adds it."""

from __future__ import annotations

from lockstep.market.config import load_instruments
from lockstep.market.dates import DateRange
from research.risk.section import RISK_PARTS, RiskPart
from research.risk.subject import RiskSubject
from research.stress.page import stress_cards
from research.stress.report import stress_content, stress_lines, stress_table
from research.stress.run import run_stress


class StressPart:
    """The scenarios that come with Lockstep, for a portfolio that was run in research; a desk has none."""

    name = "stress"

    def measure(self, subject: RiskSubject) -> RiskPart | None:
        """Return what `lockstep stress` says of the portfolio, over the dates of its run."""
        if subject.run is None or subject.members is None:
            return None
        dates = [each.equity["session_date"] for each in subject.run.lanes.values()]
        span = DateRange(
            start=min(each.iloc[0] for each in dates).date(), end=max(each.iloc[-1] for each in dates).date()
        )
        found = run_stress(subject.run.config, subject.members, load_instruments(), span=span)
        return RiskPart(
            title="Stress",
            cards=stress_cards(found),
            content=stress_content(found),
            lines=stress_lines(found),
            tables=(stress_table(found),),
            failed=not found.passes,
        )


RISK_PARTS.register(StressPart())
