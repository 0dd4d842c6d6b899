-- The registration tokens that were adopted from a homeserver, as they were there at that time. A
-- row outlives its token here: what was deleted here is not adopted again.
CREATE TABLE adopted_registration_tokens (
    token TEXT NOT NULL PRIMARY KEY,
    uses_allowed BIGINT,
    completed BIGINT NOT NULL,
    expiry_ms BIGINT
);
