"""Search: ranking, confidence, diversity, language warnings."""
