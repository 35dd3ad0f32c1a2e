"""What a person tells a running engine, and what it answers."""
