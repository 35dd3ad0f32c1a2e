"""Portfolio: one account of several instruments, whose entries one coordinator admits, and its risk."""

from lockstep.portfolio.var import calculate_cvar, calculate_var
from lockstep.portfolio.var_decomposition import var_decomposition

__all__ = ["calculate_cvar", "calculate_var", "var_decomposition"]
