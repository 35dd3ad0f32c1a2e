"""Portfolio: one account of several instruments, whose entries one coordinator admits."""
