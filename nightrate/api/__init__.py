"""Routes of the front door itself."""
