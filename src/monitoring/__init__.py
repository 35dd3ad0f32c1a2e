"""Monitoring of a desk: comparison of journals and results, alerts."""

from lockstep.monitoring.alerts import Alert, Alerts, Sink

__all__ = ["Alert", "Alerts", "Sink"]
