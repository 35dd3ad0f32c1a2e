"""Searches over parameters, and the ledger that counts every trial."""
