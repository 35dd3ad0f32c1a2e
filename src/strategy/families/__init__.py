"""Strategy families: a config, a compiled `decide`, and which slots are entry, exit and layout."""
