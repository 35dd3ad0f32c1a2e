"""What `lockstep risk --desk` last measured, as a status shows it: with its date, and whether it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lockstep.errors import ConfigError
from lockstep.settings import parse_json

FILE = "risk.json"
SCHEMA = 1
_SECOND = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class RiskSummary:
    """Value at risk and expected shortfall of the next session, USD, positive for a loss.

    as_of      session date of the positions; stamp: of the bar set that they follow, UTC ns
    levels     (value at risk, expected shortfall) by confidence in per cent, such as `99`
    positions  contracts that were held; exposed: with entries that waited to fill
    """

    as_of: str
    stamp: int
    levels: Mapping[str, tuple[float, float]]
    positions: Mapping[str, float]
    exposed: Mapping[str, float]

    def doubts(self, positions: Mapping[str, float], newest: int) -> list[str]:
        """Return why the numbers may no longer hold, for present positions and the newest bar, UTC ns.

        An entry that has filled since was measured. A day of bars (UTC) that is not in the numbers makes them
        old.
        """
        found = []
        names = sorted({*positions, *self.positions})
        for name in names:
            now = positions.get(name, 0.0)
            known = (self.positions.get(name, 0.0), self.exposed.get(name, 0.0))
            if now not in known:
                found.append(f"{name} {now:+g} since, {known[1]:+g} measured")
        if _day(newest) > _day(self.stamp):
            found.append(f"bars of {_day(newest)} since")
        return found

    @property
    def text(self) -> str:
        """The numbers as one line."""
        told = [f"VaR {level}% {var:,.0f}, ES {es:,.0f} USD" for level, (var, es) in self.levels.items()]
        return f"{'; '.join(told)}, after {self.as_of}"


def _day(stamp: int) -> str:
    return datetime.fromtimestamp(stamp / _SECOND, UTC).strftime("%Y-%m-%d")


def risk_file(status: Path) -> Path:
    """Return where the risk of a desk is, seen from its status file."""
    return status.with_name(FILE)


def read_risk(path: Path) -> RiskSummary | None:
    """Return what a `risk.json` of a desk says; None where there is none that this version can read.

    The status is looked at in an emergency: a file that cannot be read does not keep it from being shown.
    """
    try:
        content = parse_json(path.read_bytes())
        if content["schema"] != SCHEMA or content["kind"] != "desk":
            return None
        return _summary(content)
    except (OSError, ConfigError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _summary(content: Mapping[str, Any]) -> RiskSummary:
    levels = content["levels"][content["method"]]
    held = {str(name): float(size) for name, size in content["positions"].items()}
    waiting = {str(name): float(size) for name, size in content["reserved"].items()}
    names = sorted({*held, *waiting})
    return RiskSummary(
        as_of=str(content["as_of"]),
        stamp=int(content["stamp"]),
        levels={str(level): (float(each["var"]), float(each["es"])) for level, each in levels.items()},
        positions=held,
        exposed={name: held.get(name, 0.0) + waiting.get(name, 0.0) for name in names},
    )
