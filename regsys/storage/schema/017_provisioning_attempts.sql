-- One attempt at a time makes an account at the homeserver: it has the account until
-- attempt_until_ms, and attempts is its number. sent_ms: since when an attempt whose answer nobody
-- knows may have made the user there; null if none may have. made: whether one is known to have.
ALTER TABLE provisioning ADD COLUMN attempts BIGINT NOT NULL DEFAULT 0;
ALTER TABLE provisioning ADD COLUMN attempt_until_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE provisioning ADD COLUMN sent_ms BIGINT;
ALTER TABLE provisioning ADD COLUMN made BOOLEAN NOT NULL DEFAULT FALSE;

-- Whether the account is one of the homeserver whose auth service this is: it was made as such, or
-- adopted. Unless it has a row in provisioning, the homeserver knows it. False for accounts that
-- were made while regsys was nobody's auth service, until they are made there.
ALTER TABLE users ADD COLUMN at_homeserver BOOLEAN NOT NULL DEFAULT FALSE;
UPDATE users SET at_homeserver = TRUE WHERE user_id IN (SELECT user_id FROM adopted_users);
