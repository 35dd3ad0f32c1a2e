"""Helpers of research: loading data."""
