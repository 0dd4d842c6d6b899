-- Newcomers whom we have suspended at the homeserver whose auth service this is, until they are
-- released.
CREATE TABLE newcomers (
    user_id TEXT NOT NULL PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    suspended_ms BIGINT NOT NULL
);
CREATE INDEX newcomers_by_time ON newcomers (suspended_ms);
