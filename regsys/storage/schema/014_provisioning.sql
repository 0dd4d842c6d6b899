-- What the homeserver whose auth service this is does not know yet: an account, with all of its
-- devices (device_id is empty), or one device. Their tokens are not valid there until the row is
-- deleted. job_id: the job that goes on if a process dies.
CREATE TABLE provisioning (
    user_id TEXT NOT NULL REFERENCES users ON DELETE CASCADE,
    device_id TEXT NOT NULL,
    job_id TEXT NOT NULL,
    PRIMARY KEY (user_id, device_id)
);
