"""What a person writes: expressions of words and pictures, and filters."""
