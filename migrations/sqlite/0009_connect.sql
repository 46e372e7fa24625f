-- Connect sessions that are asked about, and accounts that wait until their tenant takes them.

-- Where browsers may be sent back to, and who may be told what came of a connect.
ALTER TABLE tenants ADD COLUMN connect_origins TEXT NOT NULL DEFAULT '[]';

-- Those that are there already end as they began: at once, on the page of this host.
ALTER TABLE sessions ADD COLUMN scopes TEXT NOT NULL DEFAULT '[]';
ALTER TABLE sessions ADD COLUMN account_id BLOB;
ALTER TABLE sessions ADD COLUMN return_to TEXT;
ALTER TABLE sessions ADD COLUMN origins TEXT NOT NULL DEFAULT '[]';
ALTER TABLE sessions ADD COLUMN activate INTEGER NOT NULL DEFAULT 1;
ALTER TABLE sessions ADD COLUMN status TEXT NOT NULL DEFAULT 'open';
-- Of the browser that opened the link.
ALTER TABLE sessions ADD COLUMN cookie_hash BLOB;
ALTER TABLE sessions ADD COLUMN connected_id BLOB;
ALTER TABLE sessions ADD COLUMN missing_scopes TEXT NOT NULL DEFAULT '[]';
ALTER TABLE sessions ADD COLUMN code TEXT;
ALTER TABLE sessions ADD COLUMN completion_hash BLOB;
ALTER TABLE sessions ADD COLUMN completion_until INTEGER;

ALTER TABLE flows ADD COLUMN session_id BLOB;

-- When its tokens were last renewed.
ALTER TABLE accounts ADD COLUMN refreshed_at INTEGER;
