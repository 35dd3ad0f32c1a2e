"""Statistics of many trials: Sharpe ratios, overfitting, multiple testing, the gate."""
