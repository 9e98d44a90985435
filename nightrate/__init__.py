"""The front door: settings, keys, the composition of all rooms, and the command line."""
