"""Files of bars: what a source declares of its layout, two readers, a cache, and guesses at a layout."""
