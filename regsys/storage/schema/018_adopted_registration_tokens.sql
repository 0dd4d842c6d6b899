-- The registration tokens that were adopted from a homeserver, as they were there at that time. A
-- row outlives its token here: what was deleted here is not adopted again.
CREATE TABLE adopted_registration_tokens (
    token TEXT NOT NULL PRIMARY KEY,
    uses_allowed BIGINT,
    completed BIGINT NOT NULL,
    expiry_ms BIGINT
);

-- When the SQL was written by which the homeserver gets its accounts back: what is here may be old
-- since then.
CREATE TABLE hand_backs (
    written_ms BIGINT NOT NULL PRIMARY KEY
);
