"""The `docker` runtime: every task is a container of the Docker Engine on this machine."""
