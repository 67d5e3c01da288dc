"""From a name to vectors: towers, registry, precision, export."""
