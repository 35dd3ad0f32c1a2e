"""Market data: bars, instruments and their costs, sessions, file formats, the one aggregator."""
