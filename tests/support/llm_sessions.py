"""Sessions of a researcher that asks a language model, on a bench that needs no bars."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from lockstep.market.history import History
from research.agents.database import SessionRecord
from research.agents.llm import LlmResearcher
from support.agent_sessions import bars_of_few, book_in, session_in
from support.explorers import Counter
from support.llm_server import INJECTION, catalogue, modest_server, options, url_of

RECORDED = Path(__file__).resolve().parents[1] / "fixtures" / "llm" / "session.jsonl"
GOAL = f"Calm dips. {INJECTION}"
STRATEGIES = 30
# Nobody answers at this address.
NOBODY = "http://127.0.0.1:9/v1"


def llm_session(
    folder: Path,
    history: History,
    tape: Path,
    *,
    strategies: int = STRATEGIES,
    url: str = NOBODY,
    patience: float = 5.0,
    seed: int = 0,
    **changes: Any,
) -> tuple[SessionRecord, Counter]:
    """Make a session, or what is missing of it; with the bench that counted what was evaluated.

    patience   seconds for an answer; changes: of the researcher's options
    """
    bench = Counter()
    asking = LlmResearcher(**options(url, cassette=str(tape), seconds=patience, **changes))
    session = session_in(
        book_in(folder), history, bench=bench, researcher=asking, strategies=strategies, seed=seed,
        kinds={"technical": 12, "hybrid": 6, "ml": 4}, goal=GOAL,
    )  # fmt: skip
    exploration = replace(session.exploration, catalogue=catalogue(INJECTION))
    return replace(session, exploration=exploration).run(), bench


def record(tape: Path) -> None:
    """Record a session of a modest model anew."""
    tape.unlink(missing_ok=True)
    tape.parent.mkdir(parents=True, exist_ok=True)
    with modest_server() as (_, server), tempfile.TemporaryDirectory() as folder:
        llm_session(Path(folder), bars_of_few(), tape, url=url_of(server))
