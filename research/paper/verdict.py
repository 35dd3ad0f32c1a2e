"""The verdict of a paper comparison: what was compared, what differed, which bands hold; and its JSON."""

from __future__ import annotations

from lockstep.models.manifest import BarsRead
from lockstep.monitoring.evidence import sealed
from lockstep.settings import Settings
from research.paper.bands import Band

KIND, SCHEMA = "paper comparison", 1


class Equality(Settings):
    """How much of paper and backtest was compared, bit for bit, and what differed first.

    marks   bars at which the P&L since the start was compared, to the cent
    """

    bars: int
    vectors: int
    probabilities: int
    decisions: int
    orders: int
    fills: int
    marks: int
    different: int
    kind: str = ""
    first: str = ""


class Reference(Settings):
    """The validation backtest: session dates, how many, average length of the blocks drawn.

    seen_in_training   whether training saw some of it, or does not tell
    """

    start: str
    end: str
    sessions: int
    block: int
    seen_in_training: bool


class InstrumentComparison(Settings):
    """One instrument; P&L in USD over the compared bars."""

    symbol: str
    versions: tuple[str, ...]
    start: str
    end: str
    sessions: int
    left_out: int
    refused: dict[str, int]
    equality: Equality
    paper_pnl: float
    backtest_pnl: float
    paper_trades: int
    backtest_trades: int
    bands: tuple[Band, ...]
    reference: Reference

    @property
    def passed(self) -> bool:
        """Whether nothing differs and every statistic that can be judged is inside its band."""
        return not self.equality.different and all(each.inside for each in self.bands)


class PaperComparison(Settings):
    """The verdict over all instruments of a desk.

    journal   its file name; journal_hash   hash of its newest entry
    bundles   symbol -> SHA-256 of what traded, in order; data   series -> hash of the settled bars
    reads     symbol -> symbols whose bars its models read; sources   names of the sources of each of these
    newest    symbol -> end of the last bar that was compared, UTC ns
    level     with which a desk that works as validated stays inside all bands at once
    bars      those of the files, up to the newest that was compared
    code      hash of the sources; time   when it was made, UTC ns
    """

    journal: str
    journal_hash: str
    mode: str
    epochs: tuple[int, ...]
    bundles: dict[str, tuple[str, ...]]
    data: dict[str, str]
    reads: dict[str, tuple[str, ...]]
    sources: dict[str, tuple[str, ...]]
    newest: dict[str, int]
    level: float
    resamples: int
    seed: int
    code: str
    time: int
    instruments: tuple[InstrumentComparison, ...]
    bars: BarsRead | None = None

    @property
    def passed(self) -> bool:
        """Whether every instrument passed."""
        return all(each.passed for each in self.instruments)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What stands against it, one sentence each; none where it passed."""
        found = []
        for each in self.instruments:
            if each.equality.different:
                found.append(
                    f"{each.symbol}: {each.equality.different} bars differ from the backtest; first "
                    f"{each.equality.first}"
                )
            found += [
                f"{each.symbol}: {band.statistic.replace('_', ' ')} {band.paper:.4g} is outside "
                f"{band.low:.4g} to {band.high:.4g}"
                for band in each.bands
                if not band.inside
            ]
        return tuple(found)

    @property
    def text(self) -> str:
        """The comparison as JSON with its digest: what `lockstep rollout advance` reads."""
        content = self.model_dump(mode="json")
        return sealed({"kind": KIND, "schema": SCHEMA, "passed": self.passed, **content})
