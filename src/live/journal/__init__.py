"""The journal: everything the live engine knows, committed before its effects."""

from lockstep.live.journal.journal import Journal

__all__ = ["Journal"]
