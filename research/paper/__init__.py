"""Paper trading beside the backtest: the same dates compared, and the bands that validation gives."""
