"""A smaller unit for the desk of tests: ten `MCOMP` make one contract of COMP."""

from __future__ import annotations

from pathlib import Path

from lockstep.live.units import SmallerUnit

MICRO = SmallerUnit("MCOMP", "COMP", 10, 1.0)
KNOWN = {MICRO.symbol: MICRO}
COST = 0.2


def declared(folder: Path, *, multiplier: float = 2.0) -> Path:
    """Write a user's instruments file that declares the unit, and return it: for LOCKSTEP_INSTRUMENTS."""
    path = folder / "instruments.yml"
    path.write_text(
        f"instruments:\n  MCOMP: {{session: NYSE, multiplier: {multiplier}, tick_size: 0.25, proxy_of: NQ, "
        f"commission: {{per_contract: {COST}}}}}\n"
    )
    return path


def stages(*units: bool) -> dict[str, object]:
    """Return a roll-out: shadow, a tenth, and all; `units` says which of the three name the unit."""
    told = ({"from_day": 1, "mode": "shadow"}, {"from_day": 8, "mode": "live", "fraction": 0.1},
            {"from_day": 9, "mode": "live"})  # fmt: skip
    return {
        "stages": [
            {**each, **({"units": {"COMP": "MCOMP"}} if small else {})}
            for each, small in zip(told, units, strict=True)
        ]
    }
