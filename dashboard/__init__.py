"""How it is shown: the web console."""
