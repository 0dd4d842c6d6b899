-- When users were last seen. For guests to the hour, so that idle ones are deactivated, or null if
-- not since this is recorded.
ALTER TABLE users ADD COLUMN seen_ms BIGINT;
CREATE INDEX guests_by_idleness ON users (COALESCE(seen_ms, created_ms))
    WHERE is_guest AND NOT deactivated;

-- Users who count as active, until they have not been seen for a month.
CREATE TABLE active_users (
    user_id TEXT NOT NULL PRIMARY KEY,
    seen_ms BIGINT NOT NULL
);
CREATE INDEX active_users_by_time ON active_users (seen_ms);

-- Since when something has been tracked without a gap, and when it was last.
CREATE TABLE watches (
    name TEXT NOT NULL PRIMARY KEY,
    since_ms BIGINT NOT NULL,
    last_ms BIGINT NOT NULL
);
