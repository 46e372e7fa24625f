-- Windows that many posts want: who waits for a place, and how long a platform wants to be left alone.

-- Who waits for a place of a window, in the order of `since`. `due_at` is when its turn comes.
CREATE TABLE slot_waits (
    tenant_id UUID NOT NULL,
    subject TEXT NOT NULL,
    bucket TEXT NOT NULL,
    -- A window of a whole app is waited for by posts of every tenant.
    post_tenant_id UUID NOT NULL,
    post_id UUID NOT NULL,
    places BIGINT NOT NULL,
    since TIMESTAMPTZ NOT NULL,
    due_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (tenant_id, subject, bucket, post_id),
    FOREIGN KEY (post_tenant_id, post_id) REFERENCES posts (tenant_id, id) ON DELETE CASCADE
);

CREATE INDEX slot_waits_line ON slot_waits (tenant_id, subject, bucket, since, post_id);
CREATE INDEX slot_waits_by_post ON slot_waits (post_tenant_id, post_id);

-- Windows of which the platform has said that it takes nothing until then.
CREATE TABLE slot_pauses (
    tenant_id UUID NOT NULL,
    subject TEXT NOT NULL,
    bucket TEXT NOT NULL,
    until TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (tenant_id, subject, bucket)
);

CREATE INDEX slot_pauses_expiry ON slot_pauses (until);
