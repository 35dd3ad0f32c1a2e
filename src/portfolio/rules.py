"""Numbers that the kernels of a portfolio read and write: places in arrays, and the rules by their codes."""

from __future__ import annotations

from lockstep.strategy.admission import REFUSALS

# Places in `admission.REFUSALS`, in which order they are asked: the first that refuses is named. The last one
# came later and is asked first: a signal of the other arm of a test is none of this lane.
(
    HALTED, DAILY_LOSS, SCALE, UNKNOWN, RANK, POSITIONS, CONTRACTS, TOTAL_CONTRACTS, WEIGHT_CAP, GROSS, NET,
    GROUP, VOLATILITY, MARGIN, OTHER_ARM,
) = range(len(REFUSALS))  # fmt: skip
ADMITTED, NO_PROPOSAL = -1, -2

# state (STATE,): days since 1970 (-1: before the first set); USD: equity of the last set of the day before,
# of the newest set, highest of the day; tier; whether the daily stop, the halt hold; how many `peaks`;
# drawdown, fraction of the capital.
DAY, BASELINE, EQUITY, PEAK_OF_DAY, TIER, STOPPED, HALT, PEAKS, DRAWDOWN = range(9)
STATE = 9

# lanes (n, LANE): last close, points; USD a year of one contract, NaN: never known; contracts, signed, that
# are held or wait to be entered; whether the position has to leave.
CLOSE, RISK, ROOM, LEAVING = range(4)
LANE = 4

# news (n, NEWS): of the bar of this set, NaN without one; side of a proposal, 0: none; whether it belongs to
# the other arm of the test that the lane is an arm of.
NEW_CLOSE, NEW_VOLATILITY, MEASURE, KEY, SIDE, OTHER = range(6)
NEWS = 6

# terms (n, TERM): USD per point; most contracts; largest notional value, USD. No limit: infinite.
UNIT, MOST_CONTRACTS, MOST_VALUE = range(3)
TERM = 3

# limits (LIMIT,): USD of notional capital; of a day's loss; whether it flattens; fraction of a tier's
# drawdown below which it ends; drawdown that halts; then as in `PortfolioLimits`, USD; proposals
# of a set that may be admitted. No limit: infinite.
(
    CAPITAL, LOSS, FLATTEN, RELEASE, HALT_AT, MOST_POSITIONS, MOST_TOTAL, MOST_GROSS, MOST_NET, MOST_RISK,
    MOST_MARGIN, TOP,
) = range(12)  # fmt: skip
LIMIT = 12

# groups (g, GROUP_SLOTS): most positions; largest gross value, USD. Members are rows of another array.
GROUP_POSITIONS, GROUP_GROSS = range(2)
# tiers (t, 2): drawdown from which it holds, what sizes are multiplied by. peaks (w, 2): day, its high, USD.
AT, TIMES = range(2)
PEAK_DAY, PEAK = range(2)
# margins (n, 2): USD per contract, NaN: not declared.
INITIAL, OVERNIGHT = range(2)
