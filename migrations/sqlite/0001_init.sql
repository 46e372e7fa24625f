-- Every table of Patchbay. Same tables, columns and index names as on the other side.
--
-- Ids are BLOB(16), JSON is TEXT, times are INTEGER microseconds since 1970, truth values are 0 and 1.
-- States have no CHECK: a new one must not need a rebuilt table. A row with an unknown state is refused when read.
-- Rows of jobs, inbox, flows, sessions and slots name a tenant without a foreign key: they are short-lived, no tenant
-- is ever deleted by the program, and the key would need an index that no query uses.

CREATE TABLE tenants (
    id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX tenants_name ON tenants (name);

-- TenantId::DEFAULT.
INSERT INTO tenants (id, name) VALUES (X'00000000000070008000000000000001', 'default');

-- One row that readiness writes, to prove that the database can commit.
CREATE TABLE probe (
    id INTEGER NOT NULL PRIMARY KEY,
    at INTEGER NOT NULL
) STRICT;

INSERT INTO probe (id, at) VALUES (1, 0);

CREATE TABLE api_keys (
    id BLOB NOT NULL PRIMARY KEY,
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE RESTRICT,
    name TEXT NOT NULL,
    public_id TEXT NOT NULL,
    secret_hash BLOB NOT NULL,
    scopes TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    last_used_at INTEGER
) STRICT;

CREATE UNIQUE INDEX api_keys_public_id ON api_keys (public_id);
CREATE INDEX api_keys_list ON api_keys (tenant_id, created_at, id);

CREATE TABLE data_keys (
    id INTEGER NOT NULL PRIMARY KEY,
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE RESTRICT,
    wrapped BLOB NOT NULL,
    canary BLOB NOT NULL,
    state TEXT NOT NULL
) STRICT;

CREATE INDEX data_keys_tenant ON data_keys (tenant_id);
CREATE UNIQUE INDEX data_keys_active ON data_keys (tenant_id) WHERE state = 'active';

CREATE TABLE accounts (
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE RESTRICT,
    id BLOB NOT NULL,
    owner TEXT NOT NULL,
    provider TEXT NOT NULL,
    client_id TEXT NOT NULL,
    remote_id TEXT NOT NULL,
    display_name TEXT,
    username TEXT,
    avatar_url TEXT,
    profile_url TEXT,
    scopes TEXT NOT NULL,
    status TEXT NOT NULL,
    status_code TEXT,
    simulated INTEGER NOT NULL,
    token_version INTEGER NOT NULL,
    tokens BLOB,
    access_expires_at INTEGER,
    refresh_expires_at INTEGER,
    refresh_holder TEXT,
    refresh_until INTEGER,
    connected_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;

-- One row per tenant, app and platform account.
CREATE UNIQUE INDEX accounts_remote ON accounts (provider, client_id, remote_id, tenant_id);
-- One tenant at a time may hold a grant: a second grant under one app would end the first one.
CREATE UNIQUE INDEX accounts_grant ON accounts (provider, client_id, remote_id)
    WHERE status <> 'revoked' OR tokens IS NOT NULL;
CREATE INDEX accounts_list ON accounts (tenant_id, created_at, id);
CREATE INDEX accounts_by_provider ON accounts (tenant_id, provider, created_at, id);
CREATE INDEX accounts_by_owner ON accounts (tenant_id, owner, created_at, id);

CREATE TABLE sessions (
    id BLOB NOT NULL PRIMARY KEY,
    tenant_id BLOB NOT NULL,
    owner TEXT NOT NULL,
    provider TEXT NOT NULL,
    token_hash BLOB NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX sessions_token ON sessions (token_hash);
CREATE INDEX sessions_expiry ON sessions (expires_at);

CREATE TABLE flows (
    id BLOB NOT NULL PRIMARY KEY,
    tenant_id BLOB NOT NULL,
    owner TEXT NOT NULL,
    provider TEXT NOT NULL,
    state_hash BLOB NOT NULL,
    cookie_hash BLOB NOT NULL,
    sealed BLOB NOT NULL,
    scopes TEXT NOT NULL,
    redirect_uri TEXT NOT NULL,
    return_to TEXT NOT NULL,
    activate INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX flows_state ON flows (state_hash);
CREATE INDEX flows_expiry ON flows (expires_at);

CREATE TABLE posts (
    tenant_id BLOB NOT NULL,
    id BLOB NOT NULL,
    account_id BLOB NOT NULL,
    provider TEXT NOT NULL,
    simulated INTEGER NOT NULL,
    status TEXT NOT NULL,
    content TEXT NOT NULL,
    step INTEGER NOT NULL,
    checkpoint TEXT,
    captured BLOB,
    remote_ref TEXT,
    publication TEXT NOT NULL,
    failure TEXT,
    tries INTEGER NOT NULL,
    cancel_requested INTEGER NOT NULL,
    scheduled_at INTEGER,
    idempotency_key TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    -- Concurrency key of its jobs, so that news can give it a new one.
    job_key TEXT,
    correlation_id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    finished_at INTEGER,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, account_id) REFERENCES accounts (tenant_id, id) ON DELETE RESTRICT
) STRICT;

CREATE UNIQUE INDEX posts_idempotency ON posts (tenant_id, idempotency_key);
CREATE INDEX posts_list ON posts (tenant_id, created_at, id);
CREATE INDEX posts_by_provider ON posts (tenant_id, provider, created_at, id);
CREATE INDEX posts_by_account ON posts (tenant_id, account_id, created_at, id);
CREATE INDEX posts_by_status ON posts (tenant_id, status, created_at, id);
CREATE INDEX posts_by_ref ON posts (tenant_id, provider, remote_ref, created_at, id) WHERE remote_ref IS NOT NULL;
CREATE INDEX posts_open ON posts (tenant_id, account_id) WHERE status IN ('queued', 'publishing');

-- The platform's ids of what became visible, to find a post by.
CREATE TABLE post_remote_ids (
    tenant_id BLOB NOT NULL,
    post_id BLOB NOT NULL,
    remote_id TEXT NOT NULL,
    account_id BLOB NOT NULL,
    PRIMARY KEY (tenant_id, post_id, remote_id),
    FOREIGN KEY (tenant_id, post_id) REFERENCES posts (tenant_id, id) ON DELETE CASCADE
) STRICT;

CREATE INDEX post_remote_ids_find ON post_remote_ids (tenant_id, account_id, remote_id);

-- The journal of irreversible calls.
CREATE TABLE commits (
    tenant_id BLOB NOT NULL,
    post_id BLOB NOT NULL,
    step INTEGER NOT NULL,
    op TEXT NOT NULL,
    about_to_at INTEGER NOT NULL,
    answered_at INTEGER,
    answer_status INTEGER,
    receipt BLOB,
    PRIMARY KEY (tenant_id, post_id, step, op),
    FOREIGN KEY (tenant_id, post_id) REFERENCES posts (tenant_id, id) ON DELETE CASCADE
) STRICT;

CREATE TABLE inbox (
    id BLOB NOT NULL PRIMARY KEY,
    tenant_id BLOB NOT NULL,
    provider TEXT NOT NULL,
    client_id TEXT NOT NULL,
    scheme TEXT NOT NULL,
    digest BLOB NOT NULL,
    body BLOB NOT NULL,
    received_at INTEGER NOT NULL,
    status TEXT NOT NULL,
    status_code TEXT,
    correlation_id TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX inbox_digest ON inbox (tenant_id, provider, digest);

CREATE TABLE events (
    id BLOB NOT NULL PRIMARY KEY,
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE RESTRICT,
    provider TEXT NOT NULL,
    -- App that the event came through; none for Patchbay's own events.
    client_id TEXT,
    name TEXT NOT NULL,
    dedupe_key TEXT NOT NULL,
    account_id BLOB,
    post_id BLOB,
    occurred_at INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL,
    payload TEXT NOT NULL,
    FOREIGN KEY (tenant_id, account_id) REFERENCES accounts (tenant_id, id) ON DELETE RESTRICT,
    FOREIGN KEY (tenant_id, post_id) REFERENCES posts (tenant_id, id) ON DELETE RESTRICT
) STRICT;

-- The platform's keys are unique within an app, whichever tenant the event turns out to belong to.
CREATE UNIQUE INDEX events_incoming ON events (provider, client_id, dedupe_key) WHERE client_id IS NOT NULL;
CREATE UNIQUE INDEX events_own ON events (tenant_id, provider, dedupe_key) WHERE client_id IS NULL;
CREATE INDEX events_list ON events (tenant_id, recorded_at, id);
CREATE INDEX events_by_provider ON events (tenant_id, provider, recorded_at, id);
CREATE INDEX events_by_account ON events (tenant_id, account_id, recorded_at, id);
CREATE INDEX events_by_post ON events (tenant_id, post_id, recorded_at, id);

CREATE TABLE slots (
    id BLOB NOT NULL PRIMARY KEY,
    tenant_id BLOB NOT NULL,
    subject TEXT NOT NULL,
    bucket TEXT NOT NULL,
    post_id BLOB,
    frees_at INTEGER NOT NULL,
    FOREIGN KEY (tenant_id, post_id) REFERENCES posts (tenant_id, id) ON DELETE CASCADE
) STRICT;

CREATE INDEX slots_window ON slots (tenant_id, subject, bucket, frees_at);
CREATE INDEX slots_by_post ON slots (tenant_id, post_id) WHERE post_id IS NOT NULL;
CREATE INDEX slots_expiry ON slots (frees_at);

CREATE TABLE media (
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE RESTRICT,
    id BLOB NOT NULL,
    label TEXT,
    info TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE INDEX media_expiry ON media (expires_at);

CREATE TABLE jobs (
    id BLOB NOT NULL PRIMARY KEY,
    tenant_id BLOB NOT NULL,
    kind TEXT NOT NULL,
    target BLOB NOT NULL,
    status TEXT NOT NULL,
    concurrency_key TEXT,
    run_at INTEGER NOT NULL,
    -- When it can be claimed: run_at while ready, the end of the lease while running.
    due_at INTEGER NOT NULL,
    -- While running: when it was asked to run again.
    wake_at INTEGER,
    attempts INTEGER NOT NULL,
    fence INTEGER NOT NULL,
    last_error TEXT,
    correlation_id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    finished_at INTEGER
) STRICT;

-- At most one unfinished job of a kind and target.
CREATE UNIQUE INDEX jobs_unfinished ON jobs (target, kind) WHERE status IN ('ready', 'running');
-- Jobs of one key never run at the same time.
CREATE UNIQUE INDEX jobs_running_key ON jobs (tenant_id, concurrency_key)
    WHERE status = 'running' AND concurrency_key IS NOT NULL;
CREATE INDEX jobs_due ON jobs (due_at, id) WHERE status IN ('ready', 'running');
CREATE INDEX jobs_ended ON jobs (status, finished_at) WHERE status IN ('done', 'dead');
