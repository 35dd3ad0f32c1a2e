"""A trained model: what can be measured of it, and the checks that judge it."""
