"""The parity certificate: what was compared, how many of each, what differed, and for which exact hashes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from pydantic import AwareDatetime, Field

from lockstep.files import replace_file
from lockstep.identity import json_digest
from lockstep.models.manifest import BarsRead
from lockstep.monitoring.parity import ParityComparison, ParityDifference
from lockstep.settings import Grown, SchemaVersion

SCHEMA = 1
VALID_DAYS = 90


class Part(Grown):
    """One comparison: the two engines, counts, and the first difference with its kind.

    trades   entries that filled
    series   bars compared of each series that the features read, by `SPX:1d (pair)`; of the traded one those
             that filled the windows, since `bars` counts the others
    """

    LATER: ClassVar[frozenset[str]] = frozenset({"trades", "series"})

    between: tuple[str, str]
    bars: int
    vectors: int
    values: int
    probabilities: int
    decisions: int
    orders: int
    fills: int
    marks: int
    trades: int = 0
    series: dict[str, int] = Field(default_factory=dict)
    different: int
    kind: str = ""
    first: str = ""

    @classmethod
    def of(cls, between: tuple[str, str], found: ParityComparison) -> Part:
        """Take a comparison."""
        first: ParityDifference | None = found.first
        return cls(
            between=between,
            bars=found.bars,
            vectors=found.vectors,
            values=found.values,
            probabilities=found.probabilities,
            decisions=found.decisions,
            orders=found.orders,
            fills=found.fills,
            marks=found.marks,
            trades=found.trades,
            series=dict(sorted(found.series.items())),
            different=found.different,
            kind=first.kind if first else "",
            first=str(first) if first else "",
        )


class Certificate(Grown):
    """Parity of one bundle on one stretch of bars.

    hashes    `code`, `lock`, `instruments`, `bundle`, `config`, `data SERIES`, `feature ID`
    symbols, sources   names in instruments.yml that the hash `instruments` covers
    processor   as the compiler names it; machine   hash of processor and libraries that bits depend on
    floats    floating-point mode of the deciding threads, see `lockstep.floats`
    killed_after   bar sets after which the live engine was killed
    restarts  kills at different points after which it went on
    sessions  session dates that the compared bars belong to; newest_bar   end of the last of these bars
    data      the bars that it rests on, up to the newest one
    """

    LATER: ClassVar[frozenset[str]] = frozenset(
        {"symbols", "sources", "floats", "restarts", "sessions", "newest_bar", "data"}
    )

    schema_version: SchemaVersion = SCHEMA
    symbol: str
    version: str
    bundle_sha256: str
    start: str
    end: str
    parts: tuple[Part, ...]
    sessions: int = 0
    newest_bar: AwareDatetime | None = None
    killed_after: tuple[int, ...]
    restarts: int = 0
    hashes: dict[str, str]
    symbols: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    data: BarsRead | None = None
    processor: str
    machine: str
    floats: str = ""
    versions: dict[str, str]
    issued: datetime
    expires: datetime

    def _repr_html_(self) -> str:
        from certify.page import certificate_fragment

        return certificate_fragment(self)

    @property
    def passed(self) -> bool:
        """Whether something was compared in each part and of each series, and nothing differed."""
        compared = all(part.bars and part.marks and part.fills for part in self.parts)
        read = all(count for part in self.parts for count in part.series.values())
        return bool(self.parts) and compared and read and not any(part.different for part in self.parts)

    @property
    def counts(self) -> dict[str, int]:
        """How much it rests on, as a policy asks: counted over the comparison with the live engine."""
        live = self.parts[-1]
        return {
            "bars": live.bars, "sessions": self.sessions, "trades": live.trades, "restarts": self.restarts
        }  # fmt: skip

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of everything but the dates."""
        content = self.model_dump(mode="json", exclude={"issued", "expires"})
        return json_digest(content)

    @property
    def name(self) -> str:
        """`parity-<first digits of the hash>`: names the files."""
        return f"parity-{self.digest[:16]}"

    @property
    def sentence(self) -> str:
        """The result in one line, counted over the comparison with the live engine."""
        live = self.parts[-1]
        answers = f"{live.probabilities:,} probabilities, " if live.probabilities else ""
        counts = (
            f"{live.bars:,} bars, {live.vectors:,} vectors, {answers}"
            f"{live.decisions:,} decisions, {live.orders:,} orders, {live.fills:,} fills of {live.trades:,} "
            f"trades, {sum(live.series.values()):,} further bars of {len(live.series):,} series compared"
        )
        different = sum(part.different for part in self.parts)
        return f"{counts}, {different:,} difference{'' if different == 1 else 's'}"

    @property
    def first(self) -> str:
        """The first difference, empty without one."""
        return next((part.first for part in self.parts if part.first), "")


def expiry(issued: datetime, days: int = VALID_DAYS) -> datetime:
    """Return until when a certificate that was issued now is valid."""
    return issued + timedelta(days=days)


def write_certificate(certificate: Certificate, folder: Path) -> Path:
    """Write `<name>.json` whole or not at all, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"{certificate.name}.json"
    content: Mapping[str, Any] = {**certificate.model_dump(mode="json"), "passed": certificate.passed}
    return replace_file(final, json.dumps(content, indent=2) + "\n")
