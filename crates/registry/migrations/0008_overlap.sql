-- The credential that a device had before its last rotation, while it still counts: until old_until, in milliseconds.
-- As digest and phc, one of the two; all three are NULL when only the newest counts.
ALTER TABLE devices ADD COLUMN old_digest BLOB;
ALTER TABLE devices ADD COLUMN old_phc TEXT;
ALTER TABLE devices ADD COLUMN old_until BIGINT;
CREATE UNIQUE INDEX devices_old_digest ON devices (old_digest) WHERE old_digest IS NOT NULL;
CREATE INDEX devices_old_until ON devices (old_until) WHERE old_until IS NOT NULL;
