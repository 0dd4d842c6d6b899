-- The /48 that an IPv6 address is in: all of its networks together have their own cap.
ALTER TABLE uia_sessions ADD COLUMN site TEXT;
CREATE INDEX uia_sessions_of_site ON uia_sessions (site, expires_ms)
    WHERE NOT finished AND site IS NOT NULL;
