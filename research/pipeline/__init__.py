"""The night's graph: steps that are done once, whatever kills the process, and effects that happen once."""
