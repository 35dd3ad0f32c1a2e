"""What only research needs: the backtest runner, sweeps, training, validation and reports."""
