"""Why a search ended without a result, and what to do about it."""

from __future__ import annotations

from research.experiments.models import FAILED
from research.experiments.store import Record, Store


def why_alike(store: Store, record: Record) -> str:
    """Return what to do about a search whose variants all do the same."""
    runs = store.runs(record.id, "test_trades", "test_net_profit")
    trades, profit = runs.iloc[0]
    return (
        f"experiment {record.id}: all {len(runs):,} runs are alike ({trades:,.0f} trades, "
        f"{profit:,.2f} USD on the test range): these parameters change nothing that is traded; widen "
        "their values or vary others"
    )


def why_nothing(store: Store, record: Record) -> str:
    """Return what to do about a search in which no variant has a score."""
    runs = store.runs(record.id, "status", "error", "test_trades")
    failed = runs[runs["status"] == FAILED]
    begin = f"experiment {record.id}: no successful run of {len(runs):,}"
    if len(failed):
        return f"{begin}: {len(failed):,} failed, the first with: {failed['error'].iloc[0]}"
    if not runs["test_trades"].any():
        return f"{begin}: no variant traded on the test range; widen entries or filters, or the dates"
    return f"{begin}: {record.plan.select_by} is undefined for every variant; select by another measure"
