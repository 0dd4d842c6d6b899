-- What is known of the request for each account that waited for approval, and what was decided. Which
-- accounts wait is told by users.approved alone. languages: JSON. told_ms: when administrators were
-- told by mail.
CREATE TABLE approvals (
    user_id TEXT NOT NULL PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    reason TEXT,
    address TEXT,
    languages TEXT NOT NULL,
    requested_ms BIGINT NOT NULL,
    told_ms BIGINT,
    decision TEXT,
    decided_ms BIGINT,
    decided_by TEXT,
    refusal_reason TEXT
);
CREATE INDEX approvals_by_decision ON approvals (decided_ms) WHERE decided_ms IS NOT NULL;
CREATE INDEX approvals_told ON approvals (told_ms) WHERE told_ms IS NOT NULL;
CREATE INDEX approvals_untold ON approvals (user_id) WHERE told_ms IS NULL AND decided_ms IS NULL;
CREATE INDEX users_waiting ON users (created_ms, user_id) WHERE NOT approved AND NOT deactivated;

-- Who is logged in at the administrators' page, by the digest of the cookie.
CREATE TABLE administrator_sessions (
    session_hash TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users ON DELETE CASCADE,
    password_fingerprint TEXT,
    expires_ms BIGINT NOT NULL
);
CREATE INDEX administrator_sessions_of_user ON administrator_sessions (user_id);
CREATE INDEX administrator_sessions_by_end ON administrator_sessions (expires_ms);
