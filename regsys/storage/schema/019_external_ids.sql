-- Which account a user of another system has: each user of a provider has one account at most.
CREATE TABLE external_ids (
    auth_provider_id TEXT NOT NULL,
    external_id TEXT NOT NULL,
    user_id TEXT NOT NULL REFERENCES users ON DELETE CASCADE,
    PRIMARY KEY (auth_provider_id, external_id)
);
CREATE INDEX external_ids_of_user ON external_ids (user_id);
