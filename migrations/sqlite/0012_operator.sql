-- What the operator's dashboard asks.

-- Browsers that have shown an operator's key, by the hash of their cookie. Each dies with its key.
CREATE TABLE operator_sessions (
    token_hash BLOB NOT NULL PRIMARY KEY,
    -- Names the key.
    public_id TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL
) STRICT;

CREATE INDEX operator_sessions_started ON operator_sessions (started_at);

-- How many accounts are in a state.
CREATE INDEX accounts_by_status ON accounts (status, tenant_id, provider);
-- What became of the posts of an hour.
CREATE INDEX posts_finished ON posts (finished_at, status, tenant_id, provider) WHERE finished_at IS NOT NULL;
-- Accounts that a platform has locked out.
CREATE INDEX events_reauth ON events (recorded_at, tenant_id, provider) WHERE name = 'account.reauth_required';
