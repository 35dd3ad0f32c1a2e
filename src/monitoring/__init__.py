"""What watches a desk: comparison of journals and results, alerts."""
