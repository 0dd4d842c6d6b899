-- The accounts that were adopted from a homeserver. mark is a digest of what was taken over of the
-- account, which tells whether it has changed since, on either side; last_token is the highest id
-- among the access tokens that the account had there.
CREATE TABLE adopted_users (
    user_id TEXT NOT NULL PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    mark TEXT NOT NULL,
    last_token BIGINT NOT NULL,
    adopted_ms BIGINT NOT NULL
);

-- How far an adoption has come that has not ended yet: the last user ID that it has looked at.
CREATE TABLE adoption_progress (
    name TEXT NOT NULL PRIMARY KEY,
    after_user TEXT NOT NULL
);

-- The id that an adopted access token has there; null for those that were made here.
ALTER TABLE logins ADD COLUMN adopted_id BIGINT;

-- What a login's tokens were made with, beside macaroon_secret_key: with both they can be made again,
-- so that a homeserver can get them back. Null where no homeserver is to have them.
ALTER TABLE logins ADD COLUMN made_with TEXT;
