-- Media files on their way in.

CREATE TABLE uploads (
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE RESTRICT,
    -- Of the media file that it becomes.
    id BLOB NOT NULL,
    label TEXT,
    -- As the client gave it.
    metadata TEXT,
    -- Most bytes that it will have. They count as the tenant's from the start.
    size_bytes INTEGER NOT NULL,
    -- Bytes that are there and stay there, whatever is killed.
    offset_bytes INTEGER NOT NULL,
    -- State of SHA-256 over these bytes.
    digest BLOB NOT NULL,
    -- What the keeper of the bytes must know to go on.
    place TEXT,
    -- Where it is fetched from, if nobody sends it.
    source TEXT,
    failure_code TEXT,
    -- One at a time writes: each has a higher fence than the one before.
    fence INTEGER NOT NULL,
    lease_until INTEGER,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE INDEX uploads_expiry ON uploads (expires_at);
CREATE INDEX media_list ON media (tenant_id, created_at, id);
-- Whether bytes that lie there belong to anything.
CREATE UNIQUE INDEX uploads_id ON uploads (id);
CREATE UNIQUE INDEX media_id ON media (id);
