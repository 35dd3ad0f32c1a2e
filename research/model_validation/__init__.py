"""The checks that judge a model, and their report."""
