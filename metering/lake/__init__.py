"""The lake: what several nodes have published of their ended tasks, in one DuckLake (docs/lake.md)."""
