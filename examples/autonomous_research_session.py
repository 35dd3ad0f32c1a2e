"""A research session without anybody's help: twelve strategies are proposed, tried, and not promoted.

    python examples/autonomous_research_session.py [FOLDER]

All that it writes is in the folder, `research_session` where none is named. Killed, it goes on where it was
when it is started again; finished, it says the same once more. No network, no language model.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lockstep.market.dates import DateRange
from research.agents.database import AgentBook
from research.agents.engine import ResearchEngine
from research.agents.plan import AgentSettings
from research.agents.report import SessionReport
from research.agents.summary import in_words

# What is the human's to say. A researcher cannot touch costs, capital, size or dates.
SETTINGS = AgentSettings(
    goal="dips that recover within days",
    symbol="COMP",
    researcher="screen",
    options={"features": 4},
    kinds={"technical": 12},
    least_trades=20,
    seed=7,
)
DATES = DateRange.of("1999-01-04", "2018-12-31")


def tell(told: Mapping[str, Any]) -> None:
    """Print what became of a trial, as soon as it is on record."""
    if "number" in told:
        fitness = "" if told["fitness"] is None else f", fitness {told['fitness']:.3f}"
        print(f"trial {told['number']}: {told['status']}{fitness}")


def main(folder: Path) -> None:
    """Make the session, or what is missing of it, and say what it came to."""
    folder.mkdir(parents=True, exist_ok=True)
    book = AgentBook.open(f"sqlite:///{folder.resolve()}/experiments.db")
    engine = ResearchEngine(settings=SETTINGS, book=book, tell=tell)
    record = engine.run_exploration_session(num_strategies=12, data_range=DATES)

    report = SessionReport(book, record.id)
    for each in report.summary.kinds:
        print(f"{each.name}: {each.tried} tried, mean Sharpe ratio {each.mean_sharpe:.2f} on training bars")
    for each in report.summary.open[:3]:
        print(f"nobody tried: {in_words(each)}")
    top = report.summary.top
    if top is not None:
        for back, strategy in book.get_genealogy(top.name, depth=2):
            print(f"{'  ' * back}{strategy.name} {strategy.trial.proposal.move}: {strategy.decision}")
    print(report.summary.verdict)
    print(f"page: {report.save(folder / 'session.html')}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "research_session"))
