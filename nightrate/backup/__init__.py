"""Backups: a copy of the data folder of one moment, made while work goes on (docs/backup.md)."""
