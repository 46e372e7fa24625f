-- Events on their way to those who want them pushed.

-- Where a tenant wants its events to be sent.
CREATE TABLE webhook_endpoints (
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE RESTRICT,
    id BLOB NOT NULL,
    url TEXT NOT NULL,
    description TEXT,
    -- Names, or beginnings of names that end in `*`; empty: all of Patchbay's own.
    events TEXT NOT NULL,
    -- Signs. An old one is sealed for the version before, and signs beside the new one for a while.
    secret BLOB NOT NULL,
    secret_version INTEGER NOT NULL,
    old_secret BLOB,
    old_secret_until INTEGER,
    status TEXT NOT NULL,
    disabled_code TEXT,
    disabled_at INTEGER,
    -- Since when nothing but failures came back.
    failing_since INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE INDEX webhook_endpoints_list ON webhook_endpoints (tenant_id, created_at, id);

-- One event for one endpoint, made with the event.
CREATE TABLE deliveries (
    tenant_id BLOB NOT NULL,
    id BLOB NOT NULL,
    endpoint_id BLOB NOT NULL,
    event_id BLOB NOT NULL REFERENCES events (id) ON DELETE RESTRICT,
    status TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    -- Of the last attempt.
    attempted_at INTEGER,
    answer_status INTEGER,
    answer_body TEXT,
    code TEXT,
    created_at INTEGER NOT NULL,
    finished_at INTEGER,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, endpoint_id) REFERENCES webhook_endpoints (tenant_id, id) ON DELETE CASCADE
) STRICT;

CREATE UNIQUE INDEX deliveries_event ON deliveries (event_id, endpoint_id);
CREATE INDEX deliveries_list ON deliveries (tenant_id, endpoint_id, created_at, id);
CREATE INDEX deliveries_by_status ON deliveries (tenant_id, endpoint_id, status, created_at, id);
CREATE INDEX deliveries_ended ON deliveries (status, finished_at) WHERE finished_at IS NOT NULL;
