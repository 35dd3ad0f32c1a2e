"""Labels, purged and walk-forward splits, ranges of dates."""
