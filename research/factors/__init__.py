"""Factors: built of bars, exposures and attribution, neutral weights."""
