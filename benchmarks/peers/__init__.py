"""Other engines on the same bars and thresholds, in an environment of their own (`.venv-peers`).

Each engine is a script that knows nothing of Lockstep: it reads bars and thresholds from a file, runs them
once for warm-up and then as often as asked, and prints one JSON object.
"""
