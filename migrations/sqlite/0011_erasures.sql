-- Tenants, owners and accounts that are to be erased, and what became of it: the receipt outlives them.

-- A tenant that is gone keeps its row, so that what its id stands for is never another one.
ALTER TABLE tenants ADD COLUMN erased_at INTEGER;

CREATE TABLE erasures (
    id BLOB NOT NULL PRIMARY KEY,
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE RESTRICT,
    -- SHA-256 of what is to be erased, so that a second wish for it finds the first.
    subject_hash BLOB NOT NULL,
    kind TEXT NOT NULL,
    account_id BLOB,
    -- Forgotten at the end.
    owner TEXT,
    -- Rows that are gone, by kind.
    counts TEXT NOT NULL,
    requested_at INTEGER NOT NULL,
    finished_at INTEGER
) STRICT;

CREATE INDEX erasures_subject ON erasures (tenant_id, subject_hash, requested_at, id);
CREATE UNIQUE INDEX erasures_open ON erasures (tenant_id, subject_hash) WHERE finished_at IS NULL;

-- What the platform said when it was told that a grant is over.
CREATE TABLE erased_grants (
    erasure_id BLOB NOT NULL REFERENCES erasures (id) ON DELETE CASCADE,
    account_id BLOB NOT NULL,
    provider TEXT NOT NULL,
    outcome TEXT NOT NULL,
    code TEXT,
    at INTEGER NOT NULL,
    PRIMARY KEY (erasure_id, account_id)
) STRICT;
