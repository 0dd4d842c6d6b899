-- Registration tokens are listed a page at a time, the oldest first, with their uses.
CREATE INDEX registration_tokens_by_age ON registration_tokens (created_ms, token);
DROP INDEX uses_of_token;
CREATE INDEX uses_of_token ON registration_token_uses (token, used_ms, user_id);

-- Logins whose session has ended are removed after a while.
CREATE INDEX logins_by_session_end ON logins (session_until_ms)
    WHERE session_until_ms IS NOT NULL;
