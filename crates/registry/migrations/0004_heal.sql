-- Identities that were deleted or changed outside, and what Hubward did about it.

ALTER TABLE integrations ADD COLUMN on_missing_keys TEXT NOT NULL DEFAULT 'same';

-- No foreign keys: the guard against making again for ever what somebody deletes outlives bindings.
CREATE TABLE heals (
    id TEXT NOT NULL PRIMARY KEY,
    host_name TEXT NOT NULL,
    hub_device_id TEXT NOT NULL,
    integration TEXT NOT NULL,
    device TEXT NOT NULL,
    what TEXT NOT NULL,
    asked BOOLEAN NOT NULL,
    at BIGINT NOT NULL
);

CREATE INDEX heals_identity ON heals (host_name, hub_device_id, at);
CREATE INDEX heals_host ON heals (host_name, at);

-- Devices that left an integration which takes every device: they join again only when somebody says so.
CREATE TABLE departed (
    integration TEXT NOT NULL REFERENCES integrations (id) ON DELETE CASCADE,
    device TEXT NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    at BIGINT NOT NULL,
    PRIMARY KEY (integration, device)
);
