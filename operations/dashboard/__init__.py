"""The dashboard of a desk: pages that read journal, monitor, store and ledger, and never write."""
