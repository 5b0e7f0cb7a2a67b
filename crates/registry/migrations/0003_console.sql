-- What the console shows, kept so that a page reads few rows however large the fleet and its history are.

-- Counts, kept by triggers: a summary of ten thousand bindings is a handful of rows.
CREATE TABLE binding_counts (
    integration TEXT NOT NULL REFERENCES integrations (id) ON DELETE CASCADE,
    state TEXT NOT NULL,
    made_by_us BOOLEAN NOT NULL,
    number BIGINT NOT NULL,
    PRIMARY KEY (integration, state, made_by_us)
);

INSERT INTO binding_counts (integration, state, made_by_us, number)
SELECT integration, state, made_by_us, COUNT(*) FROM bindings GROUP BY integration, state, made_by_us;

CREATE TRIGGER bindings_counted_in AFTER INSERT ON bindings BEGIN
    INSERT INTO binding_counts (integration, state, made_by_us, number)
    VALUES (NEW.integration, NEW.state, NEW.made_by_us, 1)
    ON CONFLICT (integration, state, made_by_us) DO UPDATE SET number = number + 1;
END;

CREATE TRIGGER bindings_counted_out AFTER DELETE ON bindings BEGIN
    UPDATE binding_counts SET number = number - 1
    WHERE integration = OLD.integration AND state = OLD.state AND made_by_us = OLD.made_by_us;
END;

CREATE TRIGGER bindings_counted_over AFTER UPDATE OF state, made_by_us ON bindings
WHEN OLD.state <> NEW.state OR OLD.made_by_us <> NEW.made_by_us BEGIN
    UPDATE binding_counts SET number = number - 1
    WHERE integration = OLD.integration AND state = OLD.state AND made_by_us = OLD.made_by_us;
    INSERT INTO binding_counts (integration, state, made_by_us, number)
    VALUES (NEW.integration, NEW.state, NEW.made_by_us, 1)
    ON CONFLICT (integration, state, made_by_us) DO UPDATE SET number = number + 1;
END;

CREATE INDEX bindings_by_hub_id ON bindings (integration, hub_device_id);
CREATE INDEX bindings_by_maker ON bindings (integration, made_by_us, hub_device_id);
CREATE INDEX bindings_by_state ON bindings (integration, state, hub_device_id);

-- A word for the reason, to group by: `too_large`, `message`.
ALTER TABLE dead_letters ADD COLUMN code TEXT NOT NULL DEFAULT 'refused';

UPDATE dead_letters SET code = 'too_large' WHERE reason LIKE 'too large%';

CREATE INDEX dead_letters_lane ON dead_letters (integration, device, record_offset);
CREATE INDEX dead_letters_integration ON dead_letters (integration, at, id);
CREATE INDEX dead_letters_device ON dead_letters (device, at, id);
CREATE INDEX dead_letters_code ON dead_letters (code, at, id);

CREATE TABLE dead_letter_counts (
    integration TEXT NOT NULL,
    code TEXT NOT NULL,
    number BIGINT NOT NULL,
    latest_at BIGINT NOT NULL,
    PRIMARY KEY (integration, code)
);

INSERT INTO dead_letter_counts (integration, code, number, latest_at)
SELECT integration, code, COUNT(*), MAX(at) FROM dead_letters GROUP BY integration, code;

CREATE TRIGGER dead_letters_counted_in AFTER INSERT ON dead_letters BEGIN
    INSERT INTO dead_letter_counts (integration, code, number, latest_at)
    VALUES (NEW.integration, NEW.code, 1, NEW.at)
    ON CONFLICT (integration, code) DO UPDATE SET number = number + 1, latest_at = MAX(latest_at, excluded.latest_at);
END;

CREATE TRIGGER dead_letters_counted_out AFTER DELETE ON dead_letters BEGIN
    UPDATE dead_letter_counts SET number = number - 1 WHERE integration = OLD.integration AND code = OLD.code;
    DELETE FROM dead_letter_counts WHERE integration = OLD.integration AND code = OLD.code AND number <= 0;
END;

CREATE TRIGGER dead_letters_counted_over AFTER UPDATE OF code ON dead_letters WHEN OLD.code <> NEW.code BEGIN
    UPDATE dead_letter_counts SET number = number - 1 WHERE integration = OLD.integration AND code = OLD.code;
    DELETE FROM dead_letter_counts WHERE integration = OLD.integration AND code = OLD.code AND number <= 0;
    INSERT INTO dead_letter_counts (integration, code, number, latest_at)
    VALUES (NEW.integration, NEW.code, 1, NEW.at)
    ON CONFLICT (integration, code) DO UPDATE SET number = number + 1, latest_at = MAX(latest_at, excluded.latest_at);
END;

-- Connections of devices, and logins that were refused; the newest of each device. Ids begin with the time, so that they
-- are in its order. No client id: some devices put their secret there.
CREATE TABLE connections (
    id TEXT NOT NULL PRIMARY KEY,
    device TEXT NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    outcome TEXT NOT NULL,
    connected_at BIGINT NOT NULL,
    ended_at BIGINT,
    peer TEXT NOT NULL,
    protocol TEXT,
    keep_alive BIGINT,
    reason TEXT
);

CREATE INDEX connections_device ON connections (device, id);
CREATE INDEX connections_open ON connections (id) WHERE outcome = 'open';

-- What a Pycom board told of itself last: info, network, scan, battery.
CREATE TABLE device_told (
    device TEXT NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    what TEXT NOT NULL,
    at BIGINT NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (device, what)
);

-- The signals of a device by number (Pybytes) or topic, with the name and unit somebody gave them.
CREATE TABLE series (
    device TEXT NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    name TEXT,
    unit TEXT,
    number BIGINT NOT NULL,
    last_at BIGINT,
    last_offset BIGINT,
    last_value TEXT,
    is_number BOOLEAN NOT NULL,
    PRIMARY KEY (device, key)
);

-- What came in, by UTC day: of each device, and of all under the empty device.
CREATE TABLE traffic (
    device TEXT NOT NULL,
    day BIGINT NOT NULL,
    signals BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    largest BIGINT NOT NULL,
    units_4k BIGINT NOT NULL,
    units_half_k BIGINT NOT NULL,
    PRIMARY KEY (device, day)
);

CREATE INDEX traffic_day ON traffic (day);

-- The steps of a first start, each when it first happened.
CREATE TABLE milestones (
    name TEXT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    subject TEXT NOT NULL
);

-- What a server that was running before this table existed has behind it.
INSERT INTO milestones (name, at, subject)
SELECT 'device', created_at, id FROM devices ORDER BY created_at LIMIT 1;
INSERT INTO milestones (name, at, subject)
SELECT 'integration', created_at, id FROM integrations ORDER BY created_at LIMIT 1;

-- Wizards that were begun.
CREATE TABLE drafts (
    id TEXT NOT NULL PRIMARY KEY,
    data TEXT NOT NULL,
    login TEXT,
    hub_ca TEXT,
    hub_endpoint TEXT,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE draft_secrets (
    id TEXT NOT NULL PRIMARY KEY REFERENCES drafts (id) ON DELETE CASCADE,
    connection_string BLOB NOT NULL
);

-- What hubs accepted from us, by UTC day.
CREATE TABLE hub_usage (
    host_name TEXT NOT NULL,
    day BIGINT NOT NULL,
    messages BIGINT NOT NULL,
    units_4k BIGINT NOT NULL,
    PRIMARY KEY (host_name, day)
);
