"""Checks of strategies, features and data."""
