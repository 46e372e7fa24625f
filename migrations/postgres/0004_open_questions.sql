-- What became of irreversible calls whose answer nobody saw.

-- What was seen of such a call, and what that says. `step` is the call's.
CREATE TABLE observations (
    id UUID NOT NULL PRIMARY KEY,
    tenant_id UUID NOT NULL,
    post_id UUID NOT NULL,
    step BIGINT NOT NULL,
    source TEXT NOT NULL,
    outcome TEXT NOT NULL,
    code TEXT,
    observed_at TIMESTAMPTZ NOT NULL,
    FOREIGN KEY (tenant_id, post_id) REFERENCES posts (tenant_id, id) ON DELETE CASCADE
);

CREATE INDEX observations_by_post ON observations (tenant_id, post_id, observed_at, id);

-- URLs under which platforms fetch stored files, by the hash of their token.
CREATE TABLE pull_urls (
    token_hash BYTEA NOT NULL PRIMARY KEY,
    tenant_id UUID NOT NULL,
    post_id UUID NOT NULL,
    -- Of the call that told the platform.
    step BIGINT NOT NULL,
    media_id UUID NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    fetched_at TIMESTAMPTZ,
    closed_at TIMESTAMPTZ,
    FOREIGN KEY (tenant_id, post_id) REFERENCES posts (tenant_id, id) ON DELETE CASCADE
);

CREATE INDEX pull_urls_by_post ON pull_urls (tenant_id, post_id, step);
CREATE INDEX pull_urls_expiry ON pull_urls (expires_at);

-- The platform's id of the attempt, for events that found no post under it.
ALTER TABLE events ADD COLUMN remote_ref TEXT;

CREATE INDEX events_stray ON events (tenant_id, account_id, recorded_at)
    WHERE post_id IS NULL AND remote_ref IS NOT NULL;
CREATE INDEX commits_open ON commits (tenant_id, about_to_at) WHERE answered_at IS NULL OR answer_status >= 500;
