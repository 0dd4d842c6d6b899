-- The buckets of limits that several processes share. empty_us: when, by the server's clock, a
-- bucket will have run empty (microseconds since 1970); refused: whether the last request found it
-- full. A limit need not survive a crash of the server, so that no decision waits for a disk. No
-- index on empty_us: each decision would write it.
-- only: postgres
CREATE UNLOGGED TABLE rate_limits (
    key TEXT PRIMARY KEY, empty_us BIGINT NOT NULL, refused BOOLEAN NOT NULL
);

-- In SQLite's file one process counts for itself; the table is there because the schema is one.
-- only: sqlite
CREATE TABLE rate_limits (
    key TEXT PRIMARY KEY, empty_us BIGINT NOT NULL, refused BOOLEAN NOT NULL
);
