"""Specs for people: is one sound, what does it do, how does it read as Python, in what do two differ."""
