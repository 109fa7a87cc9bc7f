"""What a submission comes to: the definition with the request's overrides merged in.

`request` holds the rules that concern the request alone, `resolving` is the way in for the rest; each kind of job has a
module of its own.
"""
