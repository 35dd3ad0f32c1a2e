"""What needs both sides, the desk's journal and research: backups as one set."""
