-- Which password the hash of a session is of: a hash that is made late is kept for no other.
ALTER TABLE uia_sessions ADD COLUMN password_mark TEXT;
