-- Until when a session holds the name in held_name, which nobody else can register before then.
ALTER TABLE uia_sessions ADD COLUMN held_until_ms BIGINT;
-- JSON: for each stage that has failed, how often, when and why it did so last; NULL if none has.
ALTER TABLE uia_sessions ADD COLUMN failures TEXT;
-- In the words of the server that was to deliver it: why the last message was given up.
ALTER TABLE validations ADD COLUMN refusal TEXT;
