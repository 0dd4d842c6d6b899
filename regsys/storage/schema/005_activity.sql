-- Who is seen here. When guests were last seen, to the hour, so that idle ones come to an end;
-- null: not since it is kept.
ALTER TABLE users ADD COLUMN seen_ms BIGINT;
CREATE INDEX guests_by_idleness ON users (COALESCE(seen_ms, created_ms))
    WHERE is_guest AND NOT deactivated;

-- Users who count as active, until they have not been seen for a month.
CREATE TABLE active_users (
    user_id TEXT NOT NULL PRIMARY KEY,
    seen_ms BIGINT NOT NULL
);
CREATE INDEX active_users_by_time ON active_users (seen_ms);

-- Since when something has been watched without a break, and when somebody last did.
CREATE TABLE watches (
    name TEXT NOT NULL PRIMARY KEY,
    since_ms BIGINT NOT NULL,
    last_ms BIGINT NOT NULL
);
