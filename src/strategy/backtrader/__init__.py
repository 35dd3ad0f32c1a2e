"""Strategy, broker, feed and Cerebro of research and live: all that imports backtrader below live."""
