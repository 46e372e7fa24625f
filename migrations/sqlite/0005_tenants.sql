-- Tenants are made and listed by the API.

ALTER TABLE tenants ADD COLUMN created_at INTEGER NOT NULL DEFAULT 0;
UPDATE tenants SET created_at = CAST(unixepoch('subsec') * 1000000 AS INTEGER);
CREATE INDEX tenants_list ON tenants (created_at, id);

-- Keys are listed by their last use; until then by when they were made.
DROP INDEX api_keys_list;
CREATE INDEX api_keys_list ON api_keys (tenant_id, COALESCE(last_used_at, created_at), id);
