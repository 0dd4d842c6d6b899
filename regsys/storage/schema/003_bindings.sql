-- What we have had bound at identity servers, to unbind it one day. The proof is sealed; NULL: a
-- signature of the homeserver's takes its place.
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
