"""Errors of monitoring."""

from __future__ import annotations

from lockstep.errors import LockstepError


class AlertFailed(LockstepError):
    """A sink could not take an alert.

    `retry_after` is the number of seconds after which one more attempt is welcome, or None.
    """

    def __init__(self, reason: str, *, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(reason)
