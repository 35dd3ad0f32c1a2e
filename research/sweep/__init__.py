"""The compiled twin: one pass over the bars, very many variants."""
