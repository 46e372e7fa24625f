-- What platforms count of published posts, read on a schedule.

-- One for each post that has a public id: what was read last, and when it is read next.
CREATE TABLE metric_watches (
    tenant_id BLOB NOT NULL,
    post_id BLOB NOT NULL,
    account_id BLOB NOT NULL,
    -- Where the schedule begins.
    since INTEGER NOT NULL,
    -- None: it is read no more.
    next_at INTEGER,
    -- Readings in a row that told nothing new.
    unchanged INTEGER NOT NULL,
    -- The last values, by name, and when they were told.
    counts TEXT NOT NULL,
    read_at INTEGER,
    -- Why the last reading brought no value, by name.
    missing TEXT NOT NULL,
    PRIMARY KEY (tenant_id, post_id),
    FOREIGN KEY (tenant_id, post_id) REFERENCES posts (tenant_id, id) ON DELETE CASCADE
) STRICT;

CREATE INDEX metric_watches_due ON metric_watches (tenant_id, account_id, next_at, post_id) WHERE next_at IS NOT NULL;

-- History: one for each reading that brought values.
CREATE TABLE metric_readings (
    tenant_id BLOB NOT NULL,
    id BLOB NOT NULL,
    post_id BLOB NOT NULL,
    read_at INTEGER NOT NULL,
    counts TEXT NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, post_id) REFERENCES posts (tenant_id, id) ON DELETE CASCADE
) STRICT;

CREATE INDEX metric_readings_list ON metric_readings (tenant_id, post_id, read_at, id);
CREATE INDEX metric_readings_age ON metric_readings (read_at);
