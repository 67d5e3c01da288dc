"""Keys, quotas, prices and the ledger."""
