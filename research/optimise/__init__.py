"""The desk's portfolio: covariance, methods and their judgement, whole contracts, limits, risk."""
