-- The calls of workers: call is the name and id of one, fingerprint that of its body. terms are those
-- of the login that it has made (JSON without any secret); null if it has made none.
CREATE TABLE replication_calls (
    call TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    terms TEXT,
    created_ms BIGINT NOT NULL
);
CREATE INDEX replication_calls_by_age ON replication_calls (created_ms);
