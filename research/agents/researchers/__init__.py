"""Researchers without a language model: pure functions of what a session has found so far."""
