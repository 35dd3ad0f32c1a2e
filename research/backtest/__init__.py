"""One backtest: its run, its result, its folder."""
