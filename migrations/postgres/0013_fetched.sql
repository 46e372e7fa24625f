-- What is fetched for tenants: media files by their URL, and pictures of accounts.

-- Of an upload that is fetched: bytes of the whole, if its server has told them.
ALTER TABLE uploads ADD COLUMN total_bytes BIGINT;
-- The version that is fetched, in its server's words (a strong entity tag).
ALTER TABLE uploads ADD COLUMN version TEXT;
-- Under which key it was asked for, and SHA-256 of what was asked.
ALTER TABLE uploads ADD COLUMN request_key TEXT;
ALTER TABLE uploads ADD COLUMN request_hash BYTEA;
ALTER TABLE media ADD COLUMN request_key TEXT;
ALTER TABLE media ADD COLUMN request_hash BYTEA;

CREATE UNIQUE INDEX uploads_request_key ON uploads (tenant_id, request_key) WHERE request_key IS NOT NULL;
CREATE UNIQUE INDEX media_request_key ON media (tenant_id, request_key) WHERE request_key IS NOT NULL;

CREATE TABLE avatars (
    tenant_id UUID NOT NULL,
    account_id UUID NOT NULL,
    -- Where the platform says that it is.
    source TEXT NOT NULL,
    looked_at TIMESTAMPTZ NOT NULL,
    -- The picture, if there was one.
    mime TEXT,
    sha256 BYTEA,
    bytes BYTEA,
    PRIMARY KEY (tenant_id, account_id),
    FOREIGN KEY (tenant_id, account_id) REFERENCES accounts (tenant_id, id) ON DELETE CASCADE
);
