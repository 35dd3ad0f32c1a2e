"""Lockstep: what you backtest is exactly what trades live, and you can prove it.

Importing the package loads none of the heavy libraries; each part brings its own.
"""

__version__ = "0.1.0"
