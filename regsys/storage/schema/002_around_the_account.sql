-- Deduplication keys of jobs that are written only once, such as those that join a user to rooms.
CREATE TABLE first_times (
    word TEXT NOT NULL PRIMARY KEY
);

-- A process looks only for the kinds of jobs that it can run.
DROP INDEX jobs_due;
CREATE INDEX jobs_due ON jobs (kind, due_ms);
