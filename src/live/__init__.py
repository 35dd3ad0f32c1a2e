"""The live engine: feeds, brokers, journal, gateway, and the loop that joins them."""
