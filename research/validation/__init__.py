"""Checks that judge features, strategies and models before they are trusted."""
