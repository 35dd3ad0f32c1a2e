"""Research agents: sessions that propose typed specs, judged by a gate that they cannot see."""
