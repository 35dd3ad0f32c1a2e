"""The night: bars come in, declared spaces are searched, what is registered is scored, and a page says so."""
