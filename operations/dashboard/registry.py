"""The pages of the dashboard, in the order of its links: a new one is one file and one line here."""

from __future__ import annotations

from operations.dashboard.page import DashboardPage
from operations.dashboard.pages.desk import DESK

PAGES: tuple[DashboardPage, ...] = (
    DESK,
)  # fmt: skip
