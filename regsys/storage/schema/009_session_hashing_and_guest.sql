-- Until when a process may still be making the hash of a session's password; NULL: no process is.
ALTER TABLE uia_sessions ADD COLUMN hashing_until_ms BIGINT;
-- The guest whose access token a request of the session has shown (its user ID, never the token).
ALTER TABLE uia_sessions ADD COLUMN guest_id TEXT;
