-- Events on their way to those who want them pushed.

-- Where a tenant wants its events to be sent.
CREATE TABLE webhook_endpoints (
    tenant_id UUID NOT NULL REFERENCES tenants (id) ON DELETE RESTRICT,
    id UUID NOT NULL,
    url TEXT NOT NULL,
    description TEXT,
    -- Names, or beginnings of names that end in `*`; empty: all of Patchbay's own.
    events JSONB NOT NULL,
    -- Signs. An old one is sealed for the version before, and signs beside the new one for a while.
    secret BYTEA NOT NULL,
    secret_version BIGINT NOT NULL,
    old_secret BYTEA,
    old_secret_until TIMESTAMPTZ,
    status TEXT NOT NULL,
    disabled_code TEXT,
    disabled_at TIMESTAMPTZ,
    -- Since when nothing but failures came back.
    failing_since TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

CREATE INDEX webhook_endpoints_list ON webhook_endpoints (tenant_id, created_at, id);

-- One event for one endpoint, made with the event.
CREATE TABLE deliveries (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    endpoint_id UUID NOT NULL,
    event_id UUID NOT NULL REFERENCES events (id) ON DELETE RESTRICT,
    status TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    -- Of the last attempt.
    attempted_at TIMESTAMPTZ,
    answer_status BIGINT,
    answer_body TEXT,
    code TEXT,
    created_at TIMESTAMPTZ NOT NULL,
    finished_at TIMESTAMPTZ,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, endpoint_id) REFERENCES webhook_endpoints (tenant_id, id) ON DELETE CASCADE
);

CREATE UNIQUE INDEX deliveries_event ON deliveries (event_id, endpoint_id);
CREATE INDEX deliveries_list ON deliveries (tenant_id, endpoint_id, created_at, id);
CREATE INDEX deliveries_by_status ON deliveries (tenant_id, endpoint_id, status, created_at, id);
CREATE INDEX deliveries_ended ON deliveries (status, finished_at) WHERE finished_at IS NOT NULL;
