-- Administrators list accounts, a page at a time, the newest first.
CREATE INDEX users_by_creation ON users (created_ms, user_id);
