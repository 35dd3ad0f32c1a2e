"""Quality of data as a command: checks, history, page, digest."""
