"""What several modules of this folder ask for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from operations.ab.tester import StrategyABTester
    from research.ledger.ledger import Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Return a new ledger, in `experiments.db` of the test's folder."""
    from research.ledger.database import Database
    from research.ledger.ledger import Ledger

    return Ledger(Database.open(f"sqlite:///{tmp_path / 'experiments.db'}"))


@pytest.fixture
def tester(ledger: Ledger) -> StrategyABTester:
    """Return the A/B tests of the new ledger."""
    from operations.ab.tester import StrategyABTester

    return StrategyABTester(ledger=ledger)
