"""What the project measures about itself, beside its floor and its peers, in one run: `python -m benchmarks`."""
