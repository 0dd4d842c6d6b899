-- Identifies the session's latest password: the hash of an earlier one is not stored.
ALTER TABLE uia_sessions ADD COLUMN password_mark TEXT;
