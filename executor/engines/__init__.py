"""Where attempts are made: on the dispatch loop."""
