"""The kernel under a virtual clock, with simulated machines: what a workload would do on given compute environments."""
