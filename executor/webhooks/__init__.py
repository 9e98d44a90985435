"""Tells whoever wants to know that a task has ended (SPEC §9): signed, retried for a day, only where it may go."""
