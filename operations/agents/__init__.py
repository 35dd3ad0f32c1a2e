"""What joins research agents and the desk: the command line, and the registration of what a session found."""
