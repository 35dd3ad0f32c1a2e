"""Typed conditions of the rules family: what may be said, and how it is evaluated."""
