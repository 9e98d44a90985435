"""A lively installation of made-up tasks, in a data folder of its own, run through the real path (SPEC §11)."""
