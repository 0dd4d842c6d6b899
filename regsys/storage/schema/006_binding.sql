-- Until when the server may still be asked to bind it, or 0 if it has answered.
ALTER TABLE bindings ADD COLUMN asked_until_ms BIGINT NOT NULL DEFAULT 0;
