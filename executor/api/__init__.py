"""HTTP routes of files, batches and models."""
