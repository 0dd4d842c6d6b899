-- Who was allowed or refused when, from where and by what rule, and what administrators have changed.
-- user_id names the account, actor who has done it if its person has not. times counts the refusals
-- that are one row. No reference to users: a row outlives the refused, and tells of the deleted.
CREATE TABLE audit (
    entry_id TEXT NOT NULL PRIMARY KEY,
    when_ms BIGINT NOT NULL,
    what TEXT NOT NULL,
    user_id TEXT,
    actor TEXT,
    address TEXT,
    rule TEXT,
    times BIGINT NOT NULL,
    details TEXT NOT NULL
);
CREATE INDEX audit_by_time ON audit (when_ms, entry_id);
CREATE INDEX audit_of_user ON audit (user_id, when_ms) WHERE user_id IS NOT NULL;
CREATE INDEX audit_by_actor ON audit (actor, when_ms) WHERE actor IS NOT NULL;
