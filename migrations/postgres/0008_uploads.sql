-- Media files on their way in.

CREATE TABLE uploads (
    tenant_id UUID NOT NULL REFERENCES tenants (id) ON DELETE RESTRICT,
    -- Of the media file that it becomes.
    id UUID NOT NULL,
    label TEXT,
    -- As the client gave it.
    metadata TEXT,
    -- Most bytes that it will have. They count as the tenant's from the start.
    size_bytes BIGINT NOT NULL,
    -- Bytes that are there and stay there, whatever is killed.
    offset_bytes BIGINT NOT NULL,
    -- State of SHA-256 over these bytes.
    digest BYTEA NOT NULL,
    -- What the keeper of the bytes must know to go on.
    place TEXT,
    -- Where it is fetched from, if nobody sends it.
    source TEXT,
    failure_code TEXT,
    -- One at a time writes: each has a higher fence than the one before.
    fence BIGINT NOT NULL,
    lease_until TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

CREATE INDEX uploads_expiry ON uploads (expires_at);
CREATE INDEX media_list ON media (tenant_id, created_at, id);
-- Whether bytes that lie there belong to anything.
CREATE UNIQUE INDEX uploads_id ON uploads (id);
CREATE UNIQUE INDEX media_id ON media (id);
