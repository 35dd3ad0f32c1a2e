"""What a running engine says about itself: status, health, logs, watcher."""
