"""The experiments database and the ledger of every trial."""
