"""Job definitions: what may be registered, and what is stored of it.

`registration` is the way in; each kind of definition has a module of its own (`single_container`, `ecs`, `eks`, `nodes`),
and so has each of the ideas that they share (`programs`, `volumes`, `linux`, `log_configuration`, `platforms`…).
"""
