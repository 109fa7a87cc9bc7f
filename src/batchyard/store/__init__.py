"""Saves and loads. What stands here is what survives: see `store.py` for the way in and `schema.py` for the tables."""
