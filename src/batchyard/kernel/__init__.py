"""Everything that decides, and nothing else: plain data and plain functions.

No I/O, no clock, no randomness, no threads. Time comes in as an argument (integer milliseconds since the epoch), and
identifiers come in with the commands, so the same inputs give the same outputs in the server, in the simulator and in
the tests. See `kernel.py` for the way in.
"""
