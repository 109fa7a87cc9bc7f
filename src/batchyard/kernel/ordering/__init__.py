"""Which job of a queue is next."""
