"""The live engine's Backtrader side: its broker, its feed, its recorder."""
