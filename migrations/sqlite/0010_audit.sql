-- Who did what that bears on security, each row sealed to the one before. No foreign keys: what a tenant did outlives it.

-- The end of each tenant's chain. Whoever appends holds this row, so that a chain has no branches.
CREATE TABLE audit_heads (
    tenant_id BLOB NOT NULL PRIMARY KEY,
    seq INTEGER NOT NULL,
    hash BLOB NOT NULL
) STRICT;

-- Rows are added, never changed or deleted.
CREATE TABLE audit (
    tenant_id BLOB NOT NULL,
    -- 1, 2, 3, … without gaps.
    seq INTEGER NOT NULL,
    id BLOB NOT NULL,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    actor_key BLOB,
    action TEXT NOT NULL,
    target TEXT,
    request_id TEXT NOT NULL,
    -- JSON, byte by byte as it was hashed.
    detail TEXT NOT NULL,
    -- SHA-256 of the hash before and of this row.
    hash BLOB NOT NULL,
    PRIMARY KEY (tenant_id, seq)
) STRICT;

CREATE INDEX audit_list ON audit (tenant_id, at, id);
CREATE INDEX audit_by_action ON audit (tenant_id, action, at, id);
CREATE INDEX audit_by_target ON audit (tenant_id, target, at, id);
