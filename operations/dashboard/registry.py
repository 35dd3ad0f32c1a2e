"""The pages of the dashboard, in the order of its links: a new one is one file and one line here."""

from __future__ import annotations

from operations.dashboard.page import DashboardPage
from operations.dashboard.pages import against, desk, experiments, models, risk

PAGES: tuple[DashboardPage, ...] = (
    desk.PAGE,
    against.PAGE,
    models.PAGE,
    risk.PAGE,
    experiments.PAGE,
)
