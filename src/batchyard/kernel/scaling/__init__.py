"""Which instances to launch for the jobs that wait, and which running instance takes a job.

`allocation.plan` is the way in; `plans` has its vocabulary, `strategies` the order in which each allocation strategy
considers instance types, `packing` what one instance of a type would hold. `rooms` finds the instance for one job.
"""
