"""Draws drafts evenly and learns nothing: what the others are compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from research.agents.proposal import Proposal, ResearchContext
from research.agents.researchers.board import Board


@dataclass(frozen=True)
class RandomResearcher:
    """Draws drafts evenly.

    >>> RandomResearcher().name
    'random'
    """

    name: ClassVar[str] = "random"
    least: ClassVar[int] = 1

    def propose(self, context: ResearchContext) -> Proposal:
        """Return the next proposal; NoProposal where nothing new is found."""
        board = Board.of(context)
        return board.at_random(context.kind, "drawn").proposal(board.ladders, context.kind)
