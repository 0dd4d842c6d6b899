-- Whether the user wanted what they have sent to be erased with the deactivated account.
ALTER TABLE users ADD COLUMN erased BOOLEAN NOT NULL DEFAULT FALSE;
