"""HTTP/1.1 to the models: connections that are kept, shared by a pool, on the dispatch loop (docs/decisions/0011)."""
