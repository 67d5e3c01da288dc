"""Models at work behind the service: workers, batches, inputs, caches."""
