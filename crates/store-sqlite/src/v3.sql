-- Version 3 of the schema: what the commits of an import did, until its receipt is a file.

CREATE TABLE receipt_part (
    id BLOB NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;
