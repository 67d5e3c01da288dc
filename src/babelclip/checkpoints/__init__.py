"""Published model folders, read without torch: specifications, layouts, weights."""
