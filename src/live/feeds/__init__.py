"""Where bars come from: one small protocol, an adapter per source."""
