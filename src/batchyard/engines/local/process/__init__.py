"""The `process` runtime: commands run on the host, by a small runner process that outlives the server."""
