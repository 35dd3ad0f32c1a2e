"""Stress: changed bars through the strategy that trades, and the size that stays under the gate."""
