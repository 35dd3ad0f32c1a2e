"""A feature: how far the close lies from the middle of its own bar, in bars of that size."""

from __future__ import annotations

from lockstep.features.feature import feature
from lockstep.features.inputs import Window


@feature(lookback=1, range=(-0.5, 0.5), shift_invariant=True, scale_invariant=True, family="toys")
def close_to_middle(high: Window, low: Window, close: Window) -> float:
    """Close minus the middle of the bar, over the bar's range.

    Range [-0.5, 0.5]; 0 where high == low. Never NaN.
    Source: an example.
    """
    width = high[-1] - low[-1]
    if width == 0.0:
        return 0.0
    return (close[-1] - low[-1]) / width - 0.5
