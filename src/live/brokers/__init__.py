"""Where orders go: one small protocol, an adapter per broker."""
