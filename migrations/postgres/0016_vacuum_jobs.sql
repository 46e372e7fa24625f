-- Ended jobs pile up in the table, and by default vacuum comes when a fifth of a table has changed and leaves the indexes alone
-- when little of it has: with millions of ended jobs a claim would step over the entries of all that ended since. So it comes
-- after so many, and cleans the indexes each time.
ALTER TABLE jobs SET (
    autovacuum_vacuum_threshold = 20000,
    autovacuum_vacuum_scale_factor = 0,
    vacuum_index_cleanup = on
);
