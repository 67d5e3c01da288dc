-- user_version 2
CREATE INDEX contents_by_time ON contents (taken_at);
CREATE INDEX photos_by_content ON photos (content);
CREATE INDEX photos_by_folder ON photos (folder);
CREATE INDEX retired_by_content ON retired (content);
CREATE INDEX tags_by_name ON tags (tag);
CREATE INDEX vectors_by_content ON vectors (content);
CREATE TABLE archives (path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE contents (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
            error TEXT,
            kind TEXT NOT NULL DEFAULT 'image',
            facts INTEGER NOT NULL DEFAULT 0,
            width INTEGER,
            height INTEGER,
            duration_ms INTEGER,
            taken_at TEXT,
            latitude REAL,
            longitude REAL,
            camera TEXT,
            caption TEXT,
            favourite INTEGER NOT NULL DEFAULT 0
        );
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE photos (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            path TEXT NOT NULL UNIQUE,
            folder TEXT NOT NULL,
            size INTEGER NOT NULL,
            mtime_ns INTEGER NOT NULL,
            sidecar_ns INTEGER NOT NULL DEFAULT 0,
            content INTEGER,
            error TEXT,
            CHECK ((content IS NULL) <> (error IS NULL))
        );
CREATE TABLE removals (id INTEGER PRIMARY KEY AUTOINCREMENT, vector INTEGER NOT NULL);
CREATE TABLE retired (content INTEGER NOT NULL, at_ms INTEGER, vector BLOB NOT NULL, since INTEGER NOT NULL);
CREATE TABLE sqlite_sequence(name,seq);
CREATE TABLE tags (
            content INTEGER NOT NULL,
            tag TEXT NOT NULL,
            source TEXT NOT NULL,
            PRIMARY KEY (content, tag, source)
        ) WITHOUT ROWID
        ;
CREATE TABLE vectors (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            content INTEGER NOT NULL,
            at_ms INTEGER,
            vector BLOB NOT NULL
        );
