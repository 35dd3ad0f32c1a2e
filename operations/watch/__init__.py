"""Watching a running desk from its journal: outcomes, alarms, drift, decay, regimes. Nothing here trades."""
