-- The user that a finished session has made, and the device that its answer logs in (null if none,
-- or if finished before this migration). The session is deleted with the device.
ALTER TABLE uia_sessions ADD COLUMN made_user_id TEXT;
ALTER TABLE uia_sessions ADD COLUMN made_device_id TEXT;
CREATE INDEX uia_sessions_made ON uia_sessions (made_user_id) WHERE made_user_id IS NOT NULL;
