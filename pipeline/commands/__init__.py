"""The command line, a file for each command; `add_command` of each adds it."""
