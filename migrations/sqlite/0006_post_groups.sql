-- Posts that were asked for together, one for each target, and posts that were made from one that did not succeed.

ALTER TABLE posts ADD COLUMN group_id BLOB;
ALTER TABLE posts ADD COLUMN retry_of BLOB;

CREATE INDEX posts_by_group ON posts (tenant_id, group_id, created_at, id) WHERE group_id IS NOT NULL;
