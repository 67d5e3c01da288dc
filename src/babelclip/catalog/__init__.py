"""The index file (SQLite): photos, contents, metadata, vectors."""
