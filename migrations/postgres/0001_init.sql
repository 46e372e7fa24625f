-- Every table of Patchbay. Same tables, columns and index names as on the other side.
--
-- Ids are uuid, JSON is jsonb, times are timestamptz.
-- States have no CHECK: a new one must not need a rebuilt table. A row with an unknown state is refused when read.
-- Rows of jobs, inbox, flows, sessions and slots name a tenant without a foreign key: they are short-lived, no tenant
-- is ever deleted by the program, and the key would need an index that no query uses.

CREATE TABLE tenants (
    id UUID NOT NULL PRIMARY KEY,
    name TEXT NOT NULL
);

CREATE UNIQUE INDEX tenants_name ON tenants (name);

-- TenantId::DEFAULT.
INSERT INTO tenants (id, name) VALUES ('00000000-0000-7000-8000-000000000001', 'default');

-- One row that readiness writes, to prove that the database can commit.
CREATE TABLE probe (
    id BIGINT NOT NULL PRIMARY KEY,
    at TIMESTAMPTZ NOT NULL
);

INSERT INTO probe (id, at) VALUES (1, 'epoch');

CREATE TABLE api_keys (
    id UUID NOT NULL PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (id) ON DELETE RESTRICT,
    name TEXT NOT NULL,
    public_id TEXT NOT NULL,
    secret_hash BYTEA NOT NULL,
    scopes JSONB NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ,
    revoked_at TIMESTAMPTZ,
    last_used_at TIMESTAMPTZ
);

CREATE UNIQUE INDEX api_keys_public_id ON api_keys (public_id);
CREATE INDEX api_keys_list ON api_keys (tenant_id, created_at, id);

CREATE TABLE data_keys (
    id BIGINT NOT NULL PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (id) ON DELETE RESTRICT,
    wrapped BYTEA NOT NULL,
    canary BYTEA NOT NULL,
    state TEXT NOT NULL
);

CREATE INDEX data_keys_tenant ON data_keys (tenant_id);
CREATE UNIQUE INDEX data_keys_active ON data_keys (tenant_id) WHERE state = 'active';

CREATE TABLE accounts (
    tenant_id UUID NOT NULL REFERENCES tenants (id) ON DELETE RESTRICT,
    id UUID NOT NULL,
    owner TEXT NOT NULL,
    provider TEXT NOT NULL,
    client_id TEXT NOT NULL,
    remote_id TEXT NOT NULL,
    display_name TEXT,
    username TEXT,
    avatar_url TEXT,
    profile_url TEXT,
    scopes JSONB NOT NULL,
    status TEXT NOT NULL,
    status_code TEXT,
    simulated BOOLEAN NOT NULL,
    token_version BIGINT NOT NULL,
    tokens BYTEA,
    access_expires_at TIMESTAMPTZ,
    refresh_expires_at TIMESTAMPTZ,
    refresh_holder TEXT,
    refresh_until TIMESTAMPTZ,
    connected_at TIMESTAMPTZ NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

-- One row per tenant, app and platform account.
CREATE UNIQUE INDEX accounts_remote ON accounts (provider, client_id, remote_id, tenant_id);
-- One tenant at a time may hold a grant: a second grant under one app would end the first one.
CREATE UNIQUE INDEX accounts_grant ON accounts (provider, client_id, remote_id)
    WHERE status <> 'revoked' OR tokens IS NOT NULL;
CREATE INDEX accounts_list ON accounts (tenant_id, created_at, id);
CREATE INDEX accounts_by_provider ON accounts (tenant_id, provider, created_at, id);
CREATE INDEX accounts_by_owner ON accounts (tenant_id, owner, created_at, id);

CREATE TABLE sessions (
    id UUID NOT NULL PRIMARY KEY,
    tenant_id UUID NOT NULL,
    owner TEXT NOT NULL,
    provider TEXT NOT NULL,
    token_hash BYTEA NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL
);

CREATE UNIQUE INDEX sessions_token ON sessions (token_hash);
CREATE INDEX sessions_expiry ON sessions (expires_at);

CREATE TABLE flows (
    id UUID NOT NULL PRIMARY KEY,
    tenant_id UUID NOT NULL,
    owner TEXT NOT NULL,
    provider TEXT NOT NULL,
    state_hash BYTEA NOT NULL,
    cookie_hash BYTEA NOT NULL,
    sealed BYTEA NOT NULL,
    scopes JSONB NOT NULL,
    redirect_uri TEXT NOT NULL,
    return_to TEXT NOT NULL,
    activate BOOLEAN NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL
);

CREATE UNIQUE INDEX flows_state ON flows (state_hash);
CREATE INDEX flows_expiry ON flows (expires_at);

CREATE TABLE posts (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    provider TEXT NOT NULL,
    simulated BOOLEAN NOT NULL,
    status TEXT NOT NULL,
    content JSONB NOT NULL,
    step BIGINT NOT NULL,
    checkpoint JSONB,
    captured BYTEA,
    remote_ref TEXT,
    publication JSONB NOT NULL,
    failure JSONB,
    tries BIGINT NOT NULL,
    cancel_requested BOOLEAN NOT NULL,
    scheduled_at TIMESTAMPTZ,
    idempotency_key TEXT NOT NULL,
    fingerprint BYTEA NOT NULL,
    -- Concurrency key of its jobs, so that news can give it a new one.
    job_key TEXT,
    correlation_id TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    finished_at TIMESTAMPTZ,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, account_id) REFERENCES accounts (tenant_id, id) ON DELETE RESTRICT
);

CREATE UNIQUE INDEX posts_idempotency ON posts (tenant_id, idempotency_key);
CREATE INDEX posts_list ON posts (tenant_id, created_at, id);
CREATE INDEX posts_by_provider ON posts (tenant_id, provider, created_at, id);
CREATE INDEX posts_by_account ON posts (tenant_id, account_id, created_at, id);
CREATE INDEX posts_by_status ON posts (tenant_id, status, created_at, id);
CREATE INDEX posts_by_ref ON posts (tenant_id, provider, remote_ref, created_at, id) WHERE remote_ref IS NOT NULL;
CREATE INDEX posts_open ON posts (tenant_id, account_id) WHERE status IN ('queued', 'publishing');

-- The platform's ids of what became visible, to find a post by.
CREATE TABLE post_remote_ids (
    tenant_id UUID NOT NULL,
    post_id UUID NOT NULL,
    remote_id TEXT NOT NULL,
    account_id UUID NOT NULL,
    PRIMARY KEY (tenant_id, post_id, remote_id),
    FOREIGN KEY (tenant_id, post_id) REFERENCES posts (tenant_id, id) ON DELETE CASCADE
);

CREATE INDEX post_remote_ids_find ON post_remote_ids (tenant_id, account_id, remote_id);

-- The journal of irreversible calls.
CREATE TABLE commits (
    tenant_id UUID NOT NULL,
    post_id UUID NOT NULL,
    step BIGINT NOT NULL,
    op TEXT NOT NULL,
    about_to_at TIMESTAMPTZ NOT NULL,
    answered_at TIMESTAMPTZ,
    answer_status BIGINT,
    receipt BYTEA,
    PRIMARY KEY (tenant_id, post_id, step, op),
    FOREIGN KEY (tenant_id, post_id) REFERENCES posts (tenant_id, id) ON DELETE CASCADE
);

CREATE TABLE inbox (
    id UUID NOT NULL PRIMARY KEY,
    tenant_id UUID NOT NULL,
    provider TEXT NOT NULL,
    client_id TEXT NOT NULL,
    scheme TEXT NOT NULL,
    digest BYTEA NOT NULL,
    body BYTEA NOT NULL,
    received_at TIMESTAMPTZ NOT NULL,
    status TEXT NOT NULL,
    status_code TEXT,
    correlation_id TEXT NOT NULL
);

CREATE UNIQUE INDEX inbox_digest ON inbox (tenant_id, provider, digest);

CREATE TABLE events (
    id UUID NOT NULL PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (id) ON DELETE RESTRICT,
    provider TEXT NOT NULL,
    -- App that the event came through; none for Patchbay's own events.
    client_id TEXT,
    name TEXT NOT NULL,
    dedupe_key TEXT NOT NULL,
    account_id UUID,
    post_id UUID,
    occurred_at TIMESTAMPTZ NOT NULL,
    recorded_at TIMESTAMPTZ NOT NULL,
    payload JSONB NOT NULL,
    FOREIGN KEY (tenant_id, account_id) REFERENCES accounts (tenant_id, id) ON DELETE RESTRICT,
    FOREIGN KEY (tenant_id, post_id) REFERENCES posts (tenant_id, id) ON DELETE RESTRICT
);

-- The platform's keys are unique within an app, whichever tenant the event turns out to belong to.
CREATE UNIQUE INDEX events_incoming ON events (provider, client_id, dedupe_key) WHERE client_id IS NOT NULL;
CREATE UNIQUE INDEX events_own ON events (tenant_id, provider, dedupe_key) WHERE client_id IS NULL;
CREATE INDEX events_list ON events (tenant_id, recorded_at, id);
CREATE INDEX events_by_provider ON events (tenant_id, provider, recorded_at, id);
CREATE INDEX events_by_account ON events (tenant_id, account_id, recorded_at, id);
CREATE INDEX events_by_post ON events (tenant_id, post_id, recorded_at, id);

CREATE TABLE slots (
    id UUID NOT NULL PRIMARY KEY,
    tenant_id UUID NOT NULL,
    subject TEXT NOT NULL,
    bucket TEXT NOT NULL,
    post_id UUID,
    frees_at TIMESTAMPTZ NOT NULL,
    FOREIGN KEY (tenant_id, post_id) REFERENCES posts (tenant_id, id) ON DELETE CASCADE
);

CREATE INDEX slots_window ON slots (tenant_id, subject, bucket, frees_at);
CREATE INDEX slots_by_post ON slots (tenant_id, post_id) WHERE post_id IS NOT NULL;
CREATE INDEX slots_expiry ON slots (frees_at);

CREATE TABLE media (
    tenant_id UUID NOT NULL REFERENCES tenants (id) ON DELETE RESTRICT,
    id UUID NOT NULL,
    label TEXT,
    info JSONB NOT NULL,
    size_bytes BIGINT NOT NULL,
    sha256 BYTEA NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

CREATE INDEX media_expiry ON media (expires_at);

CREATE TABLE jobs (
    id UUID NOT NULL PRIMARY KEY,
    tenant_id UUID NOT NULL,
    kind TEXT NOT NULL,
    target UUID NOT NULL,
    status TEXT NOT NULL,
    concurrency_key TEXT,
    run_at TIMESTAMPTZ NOT NULL,
    -- When it can be claimed: run_at while ready, the end of the lease while running.
    due_at TIMESTAMPTZ NOT NULL,
    -- While running: when it was asked to run again.
    wake_at TIMESTAMPTZ,
    attempts BIGINT NOT NULL,
    fence BIGINT NOT NULL,
    last_error TEXT,
    correlation_id TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    finished_at TIMESTAMPTZ
);

-- At most one unfinished job of a kind and target.
CREATE UNIQUE INDEX jobs_unfinished ON jobs (target, kind) WHERE status IN ('ready', 'running');
-- Jobs of one key never run at the same time.
CREATE UNIQUE INDEX jobs_running_key ON jobs (tenant_id, concurrency_key)
    WHERE status = 'running' AND concurrency_key IS NOT NULL;
CREATE INDEX jobs_due ON jobs (due_at, id) WHERE status IN ('ready', 'running');
CREATE INDEX jobs_ended ON jobs (status, finished_at) WHERE status IN ('done', 'dead');
