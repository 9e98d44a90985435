"""The pages: each draws a head, once an address, and a living part, again and again."""
