-- The queue at scale: each way of finding work has an index of its own, which holds only what it can find.

-- Claims in a row that ended without a verdict: their worker was killed or cut off.
ALTER TABLE jobs ADD COLUMN lost INTEGER NOT NULL DEFAULT 0;

-- A job's state is said once, by the job.
ALTER TABLE inbox DROP COLUMN status;
ALTER TABLE inbox DROP COLUMN status_code;

DROP INDEX jobs_due;
-- What waits, in its order.
CREATE INDEX jobs_ready ON jobs (kind, due_at, id) WHERE status = 'ready';
-- What runs, in the order in which leases end.
CREATE INDEX jobs_running ON jobs (kind, due_at, id) WHERE status = 'running';
-- What waits and is claimed by turns: tenant after tenant, and key after key.
CREATE INDEX jobs_turns ON jobs (kind, tenant_id, due_at, id) WHERE status = 'ready' AND concurrency_key IS NOT NULL;
CREATE INDEX jobs_keys ON jobs (kind, tenant_id, concurrency_key, due_at, id)
    WHERE status = 'ready' AND concurrency_key IS NOT NULL;

-- What was given up, for those who look at it.
CREATE INDEX jobs_dead ON jobs (tenant_id, finished_at, id) WHERE status = 'dead';
