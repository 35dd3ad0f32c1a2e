"""What a winner still has to pass: a test says which arm is better, and promotes nothing."""

from __future__ import annotations

import shlex
from datetime import datetime
from pathlib import Path

from lockstep.models.store import ModelStore
from operations.ab.book import AbArm, AbTest
from research.ledger.candidates import promoted_to
from research.ledger.ledger import Ledger


def promotion_command(test: AbTest) -> str:
    """Return the command that asks for the promotion of a test's challenger."""
    arm, symbol = test.terms.challenger, test.terms.symbol
    if arm.kind == "model":
        return f"lockstep promote {symbol} {arm.content['version']}{_place(arm)}"
    return f"lockstep promote {symbol} --strategy {_file(arm)}"


def open_gates(ledger: Ledger, test: AbTest, *, now: datetime) -> list[str]:
    """Return what the challenger lacks for a promotion, one sentence each: evidence of the store, forward."""
    arm = test.terms.challenger
    return [*_evidence(arm, test.terms.symbol, now), *_forward(ledger, arm, test)]


def _evidence(arm: AbArm, symbol: str, now: datetime) -> list[str]:
    if arm.kind == "model":
        store = ModelStore(Path(arm.content["store"]))
        return list(store.policy().missing(store.manifest().entry(symbol, arm.content["version"]), now))
    kinds = ", ".join(ModelStore().policy().promotion)
    return [f"{kinds}: the promotion registers it as a version, which needs them"]


def _forward(ledger: Ledger, arm: AbArm, test: AbTest) -> list[str]:
    size = promoted_to(ledger, arm.hash, test.terms.symbol)
    if size == "full":
        return []
    if size is not None:
        return ["forward evidence: allows a pilot; full size needs more sessions"]
    what = f"--version {arm.content['version']}" if arm.kind == "model" else f"--strategy {_file(arm)}"
    return [
        "forward evidence: there is none, and the sessions of this test do not count as such; it begins with "
        f"lockstep candidates register NAME {what} --symbol {test.terms.symbol} "
        f"--champion {_file(test.terms.champion)}"
    ]


def _file(arm: AbArm) -> str:
    return shlex.quote(arm.origin or "FILE")


def _place(arm: AbArm) -> str:
    store = Path(arm.content["store"])
    return "" if store == ModelStore().folder.resolve() else f" --store {shlex.quote(str(store))}"
