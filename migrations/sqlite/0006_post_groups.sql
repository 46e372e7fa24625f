-- Posts that were asked for together, one for each target; posts that were made from one that did not succeed; and posts
-- that nobody meant to make twice.

ALTER TABLE posts ADD COLUMN group_id BLOB;
ALTER TABLE posts ADD COLUMN retry_of BLOB;

CREATE INDEX posts_by_group ON posts (tenant_id, group_id, created_at, id) WHERE group_id IS NOT NULL;

-- SHA-256 of what is posted. Taken away when the same may be posted again, so that the index is the guard.
ALTER TABLE posts ADD COLUMN content_hash BLOB;

CREATE UNIQUE INDEX posts_content ON posts (tenant_id, account_id, content_hash) WHERE content_hash IS NOT NULL;
