"""The steps of the database's schema, one file each, in the order of their numbers; see `upgrade.py`.

A step is frozen once it was released: it names tables and columns as they were then, never those of
`tables.py`.
Of the ledger's tables it may add tables and columns, nothing else.
"""
