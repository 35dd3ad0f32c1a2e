"""What a recorded journal shows beside settled data, ready for JSON and for the terminal."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from rich.console import Console

from certify.recorded_table import print_recorded
from certify.skew import FeatureSkew, SeriesSkew
from lockstep.market.validation import SchemaVersion
from research.paper.residuals import Residual, ResidualSummary

SCHEMA = 1


class DecisionSkew(BaseModel):
    """The decisions of one instrument, taken again on the recorded account.

    code   differ on the recorded vector already: other rules, or another model
    data   differ on the settled vector only: what was recorded was right for the bars that had come
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    symbol: str
    compared: int
    unsettled: int
    code: int
    data: int
    first: str


class RecordedReport(BaseModel):
    """What a journal recorded, held against settled data and today's code.

    fills   of mode live only; residuals   their summaries: what they cost beyond the cost model
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: SchemaVersion = SCHEMA
    journal: str
    modes: tuple[str, ...]
    epochs: int
    first: str
    last: str
    vectors: int
    values: int
    features: tuple[FeatureSkew, ...]
    series: tuple[SeriesSkew, ...]
    decisions: tuple[DecisionSkew, ...]
    residuals: tuple[ResidualSummary, ...]
    fills: tuple[Residual, ...]

    @property
    def different(self) -> int:
        """How many values and decisions differ, and on how many bars decisions have no settled bar."""
        values = sum(each.different for each in self.features)
        return values + sum(each.code + each.data + each.unsettled for each in self.decisions)

    @property
    def passed(self) -> bool:
        """Whether every recorded value and decision comes out again; residuals of fills are no difference."""
        return self.different == 0

    def show(self, console: Console) -> None:
        """Print it as tables."""
        print_recorded(console, self)
