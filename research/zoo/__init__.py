"""The model zoo: models that answer on every bar, trained once, released where they win on unseen bars."""
