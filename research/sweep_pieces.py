"""Pieces of work: variants of one loop, few enough for their tables to stay small."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lockstep.floats import require_exact
from lockstep.market.bars import Floats
from research.sweep_account import BLOCKS, MEASURES, SKETCH
from research.sweep_configs import Integers
from research.sweep_desk import desk
from research.sweep_inputs import Inputs
from research.sweep_loops import loops
from research.sweep_variants import Shape, VariantGroup

# Entries of a piece, one list per bar and different entry rule: 64 MB at most.
_ENTRY_CELLS = 16_000_000


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Some variants of a group, those of equal exit rules beside each other; fields as of `VariantGroup`."""

    shape: Shape
    capital: float
    positions: Integers
    entry_parameters: Floats
    entry_of: Integers
    exit_parameters: Floats
    exit_of: Integers


def pieces(group: VariantGroup, chunk: int, *, bars: int, workers: int = 1) -> list[Piece]:
    """Return the variants of a group in pieces of at most `chunk`, at least one per worker.

    Pieces share nothing, so that few large ones are better; very many bars make them smaller.
    """
    size = max(1, min(chunk, _ENTRY_CELLS // bars, group.positions.size // workers))
    return [_piece(group, slice(first, first + size)) for first in range(0, group.positions.size, size)]


def _piece(group: VariantGroup, rows: slice) -> Piece:
    entries, entry_of = np.unique(group.entry_of[rows], return_inverse=True)
    exits, exit_of = np.unique(group.exit_of[rows], return_inverse=True)
    return Piece(
        shape=group.shape,
        capital=group.config.capital,
        positions=group.positions[rows],
        entry_parameters=group.entry_parameters[entries],
        entry_of=entry_of,
        exit_parameters=group.exit_parameters[exits],
        exit_of=exit_of,
    )


def evaluate(piece: Piece, inputs: Inputs) -> tuple[Floats, Floats, Floats]:
    """Run the variants of a piece; returns measures (V, 13), block sums (V, 16, 2) and sketches (V, 64)."""
    require_exact()
    compiled = loops(piece.shape)
    bars, count = len(inputs.bars), piece.positions.size
    outputs = (np.zeros((count, MEASURES)), np.zeros((count, BLOCKS, 2)), np.zeros((count, SKETCH)))
    with desk(bars=bars, sessions=inputs.marks.size, rules=len(piece.entry_parameters)) as room:
        for row, parameters in zip(room.entries, piece.entry_parameters, strict=True):
            compiled.entries(parameters, *inputs.seen_while_flat, row)
        compiled.evaluate(
            piece.exit_parameters, piece.exit_of, room.entries, piece.entry_of, *inputs.seen_in_position,
            inputs.session, inputs.marks, inputs.edges, inputs.bucket, inputs.sign, piece.capital,
            room.following, room.outcomes, room.changes, *outputs,
        )  # fmt: skip
    return outputs
