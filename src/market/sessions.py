"""Sessions: when a market is open, to which date a bar belongs, and the calendar columns of features."""
CALENDAR_COLUMNS: tuple[str, ...] = (
    "day_of_week",
    "month",
    "day_of_month",
    "trading_day_of_month",
    "trading_days_left_in_month",
    "hour",
    "minute_of_session",
    "session_minutes",
    "in_session",
)


class Session:
    """(being written)"""
