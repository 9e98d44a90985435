"""Where attempts are made: on the dispatch loop, or in the actors of a Ray cluster (docs/decisions/0015)."""
