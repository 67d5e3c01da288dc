"""The service: embeddings, classification and search over HTTP, with keys, limits and a ledger."""
