"""Where a strategy comes from, as a tree: it stands below those that it was made of."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from research.agents.database import AgentBook, Strategy
from research.report.page import plain, ratio
from research.report.theme import BAR, GAIN, PAPER, figure

_ROW = 76
_ROOM = 40
_DRAWN = 4
"""Generations that are drawn, and so many strategies of each; a table has them all."""


@dataclass(frozen=True, kw_only=True)
class Kinship:
    """A strategy and its ancestors.

    members   each with how many generations back it is, the strategy itself first
    parents   names by the name of a child
    """

    members: Sequence[tuple[int, Strategy]]
    parents: Mapping[str, Sequence[str]]

    def places(self) -> dict[str, tuple[float, int]]:
        """Return where each strategy that is drawn stands: from 0 to 1, and how many generations up."""
        rows: dict[int, list[str]] = {}
        for back, each in self.members:
            if back <= _DRAWN:
                rows.setdefault(back, []).append(each.name)
        return {
            name: ((place + 0.5) / len(row), back)
            for back, row in rows.items()
            for place, name in enumerate(row)
        }

    def drawn(self) -> go.Figure | None:
        """Return the figure, None for a strategy that was made of no other."""
        if len(self.members) < 2:
            return None
        places = self.places()
        generations = max(back for _, back in places.values())
        hidden = {"visible": False, "fixedrange": True}
        result = figure(
            _ROOM + _ROW * (generations + 1),
            xaxis={**hidden, "range": [0, 1]},
            yaxis={**hidden, "range": [-0.5, generations + 0.5]},
        )
        for child, parent in self._edges(places):
            (x, y), (to_x, to_y) = places[child], places[parent]
            result.add_scatter(
                x=[x, to_x], y=[y, to_y], mode="lines", line={"color": BAR, "width": 1.2}, hoverinfo="skip"
            )  # fmt: skip
        shown = [each for _, each in self.members if each.name in places]
        result.add_scatter(
            x=[places[each.name][0] for each in shown], y=[places[each.name][1] for each in shown],
            mode="markers+text", text=[_label(each) for each in shown], textposition="middle right",
            marker={
                "color": [GAIN if back == 0 else PAPER for back, each in self.members if each.name in places],
                "size": 13, "line": {"color": GAIN, "width": 1.6},
            },
            hovertext=[plain(each.trial.proposal.change or each.trial.proposal.rationale) for each in shown],
            hoverinfo="text", cliponaxis=False,
        )  # fmt: skip
        return result

    def _edges(self, places: Mapping[str, tuple[float, int]]) -> Iterator[tuple[str, str]]:
        for child, parents in self.parents.items():
            for parent in parents:
                if child in places and parent in places:
                    yield child, parent


def family_tree(book: AgentBook, name: str, *, generations: int) -> Kinship:
    """Return the family of a strategy; AgentError where there is none of this name."""
    members = book.get_genealogy(name, generations)
    by_id = {each.trial.id: each.name for _, each in members}
    names = {each.name for _, each in members}
    parents = {}
    for _, each in members:
        proposal = each.trial.proposal
        found = [f"{each.session}.{number}" for number in proposal.parents]
        found += [by_id[proposal.from_id]] if proposal.from_id in by_id else []
        parents[each.name] = tuple(one for one in dict.fromkeys(found) if one in names)
    return Kinship(members=tuple(members), parents=parents)


def _label(strategy: Strategy) -> str:
    fitness = strategy.trial.fitness
    said = f"{strategy.name} {plain(strategy.trial.proposal.move)}"
    return said if not math.isfinite(fitness) else f"{said}<br>{ratio(fitness, 3)}"
