"""Training: dataset, nested search, outcome, report."""
