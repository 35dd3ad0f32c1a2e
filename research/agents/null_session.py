"""A session as a function of where its decisions lie: what its null replay runs again, in memory.

It goes through the same steps as the session on record (`loop.py`), over the training bars that it had; what
differs is where specs are measured. Nothing is stored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from research.agents.bench import TrainingBench
from research.agents.evaluation import TrainingEvaluator
from research.agents.loop import Exploration, objective


def search_of(exploration: Exploration, evaluator: TrainingEvaluator) -> Callable[[int], float]:
    """Return a function of the sessions by which decisions are moved: the fitness of what is found, or NaN.

    evaluator   of the bars as they are; 0 is the session itself
    """

    def search(shift: int) -> float:
        bench = TrainingBench(evaluator=evaluator.moved(shift) if shift else evaluator)
        return objective(replace(exploration, bench=bench).run().trials)

    return search
