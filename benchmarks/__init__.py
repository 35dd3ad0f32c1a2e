"""What Lockstep promises about speed and memory, measured: `make bench`.

Machines differ and are noisy; ratios are taken within one run, pair by pair, and medians are shown.
"""
