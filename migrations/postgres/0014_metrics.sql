-- What platforms count of published posts, read on a schedule.

-- One for each post that has a public id: what was read last, and when it is read next.
CREATE TABLE metric_watches (
    tenant_id UUID NOT NULL,
    post_id UUID NOT NULL,
    account_id UUID NOT NULL,
    -- Where the schedule begins.
    since TIMESTAMPTZ NOT NULL,
    -- None: it is read no more.
    next_at TIMESTAMPTZ,
    -- Readings in a row that told nothing new.
    unchanged BIGINT NOT NULL,
    -- The last values, by name, and when they were told.
    counts JSONB NOT NULL,
    read_at TIMESTAMPTZ,
    -- Why the last reading brought no value, by name.
    missing JSONB NOT NULL,
    PRIMARY KEY (tenant_id, post_id),
    FOREIGN KEY (tenant_id, post_id) REFERENCES posts (tenant_id, id) ON DELETE CASCADE
);

CREATE INDEX metric_watches_due ON metric_watches (tenant_id, account_id, next_at, post_id) WHERE next_at IS NOT NULL;

-- History: one for each reading that brought values.
CREATE TABLE metric_readings (
    tenant_id UUID NOT NULL,
    id UUID NOT NULL,
    post_id UUID NOT NULL,
    read_at TIMESTAMPTZ NOT NULL,
    counts JSONB NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, post_id) REFERENCES posts (tenant_id, id) ON DELETE CASCADE
);

CREATE INDEX metric_readings_list ON metric_readings (tenant_id, post_id, read_at, id);
CREATE INDEX metric_readings_age ON metric_readings (read_at);
