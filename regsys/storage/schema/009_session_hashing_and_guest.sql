-- Until when a process may still be hashing a session's password, or NULL if no process is.
ALTER TABLE uia_sessions ADD COLUMN hashing_until_ms BIGINT;
-- The guest whose access token a request of the session has shown (its user ID, never the token).
ALTER TABLE uia_sessions ADD COLUMN guest_id TEXT;
