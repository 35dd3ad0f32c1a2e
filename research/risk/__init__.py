"""Risk of a portfolio or a desk: what is measured, its page, and the plugs of both."""
