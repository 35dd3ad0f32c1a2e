"""The simulator: one seed is the whole life of a desk; see docs/simulator.md."""
