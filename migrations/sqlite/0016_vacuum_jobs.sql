-- For PostgreSQL only: SQLite leaves no dead entries in its indexes.
SELECT 1;
