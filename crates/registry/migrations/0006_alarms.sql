-- What needs somebody's eye, from when it is noticed until it is over. Names are kept beside the ids: a cleared alarm
-- outlives what it was about.
CREATE TABLE alarms (
    id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    integration TEXT,
    device TEXT,
    integration_name TEXT,
    device_name TEXT,
    cause TEXT NOT NULL,
    remedy TEXT NOT NULL,
    since BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    acknowledged_at BIGINT,
    acknowledged_by TEXT,
    cleared_at BIGINT
);

-- One open alarm of a kind about a subject.
CREATE UNIQUE INDEX alarms_open ON alarms (kind, COALESCE(integration, ''), COALESCE(device, '')) WHERE cleared_at IS NULL;
CREATE INDEX alarms_since ON alarms (since, id);
CREATE INDEX alarms_open_since ON alarms (since, id) WHERE cleared_at IS NULL;
CREATE INDEX alarms_cleared ON alarms (cleared_at, id) WHERE cleared_at IS NOT NULL;
CREATE INDEX alarms_device ON alarms (device, since, id);

-- How long a device may be silent before somebody is told, as learned from it, and whether anybody wants to know.
CREATE TABLE device_silence (
    device TEXT NOT NULL PRIMARY KEY REFERENCES devices (id) ON DELETE CASCADE,
    watched BOOLEAN NOT NULL,
    limit_ms BIGINT
);

-- Who is told of alarms: one row, or none. The target is for people; the address may hold a secret and is sealed with
-- the key that signs.
CREATE TABLE webhooks (
    id TEXT NOT NULL PRIMARY KEY,
    target TEXT NOT NULL,
    secret BLOB NOT NULL,
    ca TEXT,
    created_at BIGINT NOT NULL,
    sent BIGINT NOT NULL,
    dropped BIGINT NOT NULL,
    last_sent_at BIGINT,
    failing_since BIGINT,
    last_error TEXT
);

-- What it is still to be told, the oldest first.
CREATE TABLE webhook_notices (
    number BIGINT NOT NULL PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    event TEXT NOT NULL,
    alarm TEXT NOT NULL,
    at BIGINT NOT NULL
);
