"""Retraining: from a trigger to a promotion that is watched, one recorded step after the other."""
