-- Tenants, owners and accounts that are to be erased, and what became of it: the receipt outlives them.

-- A tenant that is gone keeps its row, so that what its id stands for is never another one.
ALTER TABLE tenants ADD COLUMN erased_at TIMESTAMPTZ;

CREATE TABLE erasures (
    id UUID NOT NULL PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (id) ON DELETE RESTRICT,
    -- SHA-256 of what is to be erased, so that a second wish for it finds the first.
    subject_hash BYTEA NOT NULL,
    kind TEXT NOT NULL,
    account_id UUID,
    -- Forgotten at the end.
    owner TEXT,
    -- Rows that are gone, by kind.
    counts JSONB NOT NULL,
    requested_at TIMESTAMPTZ NOT NULL,
    finished_at TIMESTAMPTZ
);

CREATE INDEX erasures_subject ON erasures (tenant_id, subject_hash, requested_at, id);
CREATE UNIQUE INDEX erasures_open ON erasures (tenant_id, subject_hash) WHERE finished_at IS NULL;

-- What the platform said when it was told that a grant is over.
CREATE TABLE erased_grants (
    erasure_id UUID NOT NULL REFERENCES erasures (id) ON DELETE CASCADE,
    account_id UUID NOT NULL,
    provider TEXT NOT NULL,
    outcome TEXT NOT NULL,
    code TEXT,
    at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (erasure_id, account_id)
);
