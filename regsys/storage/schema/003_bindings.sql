-- The bindings made at identity servers, to be unbound one day. proof is the encrypted validation
-- session, or NULL if the homeserver's signature is used instead.
CREATE TABLE bindings (
    user_id TEXT NOT NULL,
    medium TEXT NOT NULL,
    address TEXT NOT NULL,
    id_server TEXT NOT NULL,
    binding_id TEXT NOT NULL UNIQUE,
    proof TEXT,
    bound_ms BIGINT NOT NULL,
    PRIMARY KEY (user_id, medium, address, id_server)
);
