-- Accounts and everything that one registration writes. Times are milliseconds since the epoch.

-- name_key is the lower-cased localpart: its unique key decides which account gets a name.
CREATE TABLE users (
    user_id TEXT NOT NULL PRIMARY KEY,
    name_key TEXT NOT NULL UNIQUE,
    password_hash TEXT,
    is_guest BOOLEAN NOT NULL,
    admin BOOLEAN NOT NULL,
    user_type TEXT,
    approved BOOLEAN NOT NULL,
    shadow_banned BOOLEAN NOT NULL,
    deactivated BOOLEAN NOT NULL,
    appservice_id TEXT,
    created_ms BIGINT NOT NULL,
    upgraded_ms BIGINT
);

CREATE TABLE profiles (
    user_id TEXT NOT NULL PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    display_name TEXT
);

CREATE TABLE devices (
    user_id TEXT NOT NULL REFERENCES users ON DELETE CASCADE,
    device_id TEXT NOT NULL,
    display_name TEXT,
    auth_provider_id TEXT,
    auth_provider_session_id TEXT,
    PRIMARY KEY (user_id, device_id)
);

-- One pair of tokens per row, by their SHA-256. replaces: the pair from which this one was refreshed,
-- until one of the new tokens is used and the old pair is spent.
CREATE TABLE logins (
    access_hash TEXT NOT NULL PRIMARY KEY,
    refresh_hash TEXT,
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    valid_until_ms BIGINT,
    refresh_until_ms BIGINT,
    session_until_ms BIGINT,
    replaces TEXT,
    spent_ms BIGINT,
    FOREIGN KEY (user_id, device_id) REFERENCES devices ON DELETE CASCADE
);
CREATE INDEX logins_of_device ON logins (user_id, device_id);
CREATE UNIQUE INDEX logins_by_refresh ON logins (refresh_hash) WHERE refresh_hash IS NOT NULL;
CREATE UNIQUE INDEX logins_successor ON logins (replaces) WHERE replaces IS NOT NULL;
CREATE INDEX logins_spent ON logins (spent_ms) WHERE spent_ms IS NOT NULL;

-- The unique key decides which account gets an address. No row is ever moved to another user.
CREATE TABLE threepids (
    medium TEXT NOT NULL,
    address TEXT NOT NULL,
    user_id TEXT NOT NULL REFERENCES users ON DELETE CASCADE,
    validated_at_ms BIGINT NOT NULL,
    added_ms BIGINT NOT NULL,
    PRIMARY KEY (medium, address)
);
CREATE INDEX threepids_of_user ON threepids (user_id);

-- Validation sessions: one for each address, client secret and requester until it is validated.
-- claimed_by: the UIA session that has claimed it. user_id: the account that requests it, or empty
-- (not NULL, because of the unique key) if there is no account yet.
CREATE TABLE validations (
    sid TEXT NOT NULL PRIMARY KEY,
    medium TEXT NOT NULL,
    address TEXT NOT NULL,
    client_secret TEXT NOT NULL,
    send_attempt BIGINT NOT NULL,
    user_id TEXT NOT NULL,
    next_link TEXT,
    tries BIGINT NOT NULL,
    validated_ms BIGINT,
    claimed_by TEXT,
    used BOOLEAN NOT NULL,
    expires_ms BIGINT NOT NULL
);
CREATE UNIQUE INDEX validations_open ON validations (address, client_secret, medium, user_id)
    WHERE validated_ms IS NULL;
CREATE INDEX validations_claimed ON validations (claimed_by) WHERE claimed_by IS NOT NULL;
CREATE INDEX validations_of_user ON validations (user_id) WHERE user_id <> '';
CREATE INDEX validations_by_end ON validations (expires_ms);

-- When each token was made. Tokens are computed: the rows do not hold them.
CREATE TABLE validation_tokens (
    sid TEXT NOT NULL REFERENCES validations ON DELETE CASCADE,
    send_attempt BIGINT NOT NULL,
    made_ms BIGINT NOT NULL,
    PRIMARY KEY (sid, send_attempt)
);

-- completed counts the accounts made with a token. Uses under way are counted from their
-- reservations, each of which expires by itself.
CREATE TABLE registration_tokens (
    token TEXT NOT NULL PRIMARY KEY,
    uses_allowed BIGINT,
    completed BIGINT NOT NULL,
    expiry_ms BIGINT,
    revoked BOOLEAN NOT NULL,
    note TEXT,
    creator TEXT,
    created_ms BIGINT NOT NULL
);

-- Which account used which token, and when. A row outlives its token.
CREATE TABLE registration_token_uses (
    user_id TEXT NOT NULL PRIMARY KEY,
    token TEXT NOT NULL,
    used_ms BIGINT NOT NULL
);
CREATE INDEX uses_of_token ON registration_token_uses (token);

CREATE TABLE registration_token_reservations (
    session_id TEXT NOT NULL PRIMARY KEY,
    token TEXT NOT NULL REFERENCES registration_tokens ON DELETE CASCADE,
    expires_ms BIGINT NOT NULL
);
CREATE INDEX reservations_of_token ON registration_token_reservations (token);
CREATE INDEX reservations_by_end ON registration_token_reservations (expires_ms);

-- Which user has accepted which version of which policy, including users of an embedder's store.
CREATE TABLE consents (
    user_id TEXT NOT NULL,
    policy TEXT NOT NULL,
    version TEXT NOT NULL,
    accepted_ms BIGINT NOT NULL,
    PRIMARY KEY (user_id, policy, version)
);

-- Idempotency keys and their outcomes. terms is JSON without any secret.
CREATE TABLE outcomes (
    key TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL,
    terms TEXT,
    finished BOOLEAN NOT NULL,
    created_ms BIGINT NOT NULL
);
CREATE INDEX outcomes_by_age ON outcomes (created_ms);

-- Events that happen once, such as the first real user.
CREATE TABLE milestones (
    name TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL,
    reached_ms BIGINT NOT NULL
);

-- params, results and clients are JSON.
CREATE TABLE uia_sessions (
    session_id TEXT NOT NULL PRIMARY KEY,
    method TEXT NOT NULL,
    uri TEXT NOT NULL,
    user_id TEXT,
    address TEXT NOT NULL,
    params TEXT NOT NULL,
    password_hash TEXT,
    results TEXT NOT NULL,
    clients TEXT NOT NULL,
    held_name TEXT,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    finished BOOLEAN NOT NULL
);
CREATE INDEX uia_sessions_open ON uia_sessions (address, expires_ms) WHERE NOT finished;
CREATE INDEX uia_sessions_of_user ON uia_sessions (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX uia_sessions_by_end ON uia_sessions (expires_ms);
CREATE UNIQUE INDEX uia_sessions_held ON uia_sessions (held_name) WHERE held_name IS NOT NULL;

-- due_ms is when a job may be claimed: while it is claimed, the end of its lease.
CREATE TABLE jobs (
    job_id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    due_ms BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    last_error TEXT
);
CREATE INDEX jobs_due ON jobs (due_ms);

-- Nonces of the shared-secret API that have been used.
CREATE TABLE used_nonces (
    nonce TEXT NOT NULL PRIMARY KEY,
    expires_ms BIGINT NOT NULL
);
CREATE INDEX used_nonces_by_end ON used_nonces (expires_ms);

CREATE TABLE secrets (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

-- The numbers of generated names. None is given out twice.
-- only: postgres
CREATE SEQUENCE user_number;

-- only: sqlite
CREATE TABLE user_number (value BIGINT NOT NULL);

-- only: sqlite
INSERT INTO user_number VALUES (0);
