-- Whom a finished session has made, and which device of theirs its answer logs in (null: none, or
-- a step before this one): with the device ends the session.
ALTER TABLE uia_sessions ADD COLUMN made_user_id TEXT;
ALTER TABLE uia_sessions ADD COLUMN made_device_id TEXT;
CREATE INDEX uia_sessions_made ON uia_sessions (made_user_id) WHERE made_user_id IS NOT NULL;
