"""The journal: everything before its effect, in one SQLite file with one writer."""
