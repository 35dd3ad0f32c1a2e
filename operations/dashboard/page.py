"""What a page of the dashboard is, and what it may read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from lockstep.live.config import LiveConfig
from lockstep.models.store import ModelStore
from operations.retraining.config import RetrainingConfig
from operations.watch.config import MonitoringConfig


@dataclass(frozen=True, kw_only=True)
class DashboardSources:
    """Where a page reads; everything is only read, and may be absent.

    live         the desk: journal, status file, portfolio; monitoring: of its monitor, None without one
    store        the model store; ledger: URL of experiments and trials, empty: the usual one
    results      folder of reports and run folders; retraining: of the desk's models, None without one
    """

    live: LiveConfig
    monitoring: MonitoringConfig | None
    store: ModelStore
    ledger: str
    results: Path
    retraining: RetrainingConfig | None = None


@dataclass(frozen=True, kw_only=True)
class DashboardPage:
    """A page: its name in the address, its title, and what it shows.

    build   returns the pieces of its body, made by the page kit (`research.report.page`), at `now`, UTC ns.
            It raises no LockstepError for a source that is absent or cannot be read: the page says so
    """

    name: str
    title: str
    build: Callable[[DashboardSources, int], Sequence[Markup]]
