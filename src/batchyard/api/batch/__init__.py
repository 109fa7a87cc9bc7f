"""AWS Batch: the handlers of its operations, a module for each kind of resource.

A handler decides nothing: what changes something becomes a command for the control loop, what asks is read from the store
or from the kernel. Rules and texts stand in the kernel.
"""
