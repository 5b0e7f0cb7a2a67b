-- Limits of what waits, and what became of it.

-- Bytes of signals that may wait for an integration, and for one device in it; milliseconds a held device's may wait.
ALTER TABLE integrations ADD COLUMN backlog_limit BIGINT NOT NULL DEFAULT 5368709120;
ALTER TABLE integrations ADD COLUMN device_backlog_limit BIGINT NOT NULL DEFAULT 67108864;
ALTER TABLE integrations ADD COLUMN device_backlog_age BIGINT NOT NULL DEFAULT 604800000;

-- What a lane needs of the journal before held_until stands in its integration's hold file, from the place held_from on.
ALTER TABLE lanes ADD COLUMN held_until BIGINT;
ALTER TABLE lanes ADD COLUMN held_from BIGINT;

-- Signals that were given up because a limit was reached: count of them between two offsets.
CREATE TABLE expired (
    id TEXT NOT NULL PRIMARY KEY,
    integration TEXT NOT NULL REFERENCES integrations (id) ON DELETE CASCADE,
    device TEXT NOT NULL,
    from_offset BIGINT NOT NULL,
    to_offset BIGINT NOT NULL,
    count BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    reason TEXT NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX expired_device ON expired (integration, device, from_offset);
CREATE INDEX expired_at ON expired (at);
