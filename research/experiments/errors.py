"""What an experiment can refuse, below the one tree of errors.

LockstepError
└── ExperimentError        an experiment cannot be run, found or shown as it was asked for
    ├── EngineMismatch     sweep and Backtrader disagree about a winner
    ├── PromotionRefused   a winner does not keep to the limits
    └── ForeignGrid        a grid file is written as another tool wants it (in `foreign.py`)
"""

from __future__ import annotations

from lockstep.errors import LockstepError


class ExperimentError(LockstepError):
    """An experiment cannot be run, found or shown as it was asked for."""


class EngineMismatch(ExperimentError):
    """Sweep and Backtrader disagree about a winner; no number of the experiment can be believed."""


class PromotionRefused(ExperimentError):
    """A winner does not keep to the limits of its experiment."""
