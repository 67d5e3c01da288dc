"""HTTP: middleware, protocol, metrics, static page, OpenAPI."""
