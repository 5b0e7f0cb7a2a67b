-- Times are milliseconds since 1970-01-01 UTC, ids are random texts, sealed columns hold what src/seal.rs describes.

CREATE TABLE meta (
    key TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

-- The keys that seal secrets, themselves sealed under a master key, which is not in this database.
CREATE TABLE data_keys (
    id TEXT NOT NULL PRIMARY KEY,
    master_key_id TEXT NOT NULL,
    sealed BLOB NOT NULL,
    created_at BIGINT NOT NULL
);

-- A random secret is kept as its SHA-256 (digest), an imported password as an argon2id text (phc).
CREATE TABLE devices (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    username TEXT,
    topics TEXT NOT NULL,
    digest BLOB UNIQUE,
    phc TEXT,
    removing BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL
);

-- An MQTT device's own user name leads to one device; Pycom's names its owner, who has many.
CREATE UNIQUE INDEX devices_mqtt_username ON devices (username) WHERE kind = 'mqtt';

CREATE TABLE device_activity (
    device TEXT NOT NULL PRIMARY KEY REFERENCES devices (id) ON DELETE CASCADE,
    last_seen BIGINT NOT NULL,
    signals BIGINT NOT NULL
);

CREATE TABLE integrations (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    service TEXT NOT NULL,
    host_name TEXT NOT NULL,
    policy TEXT NOT NULL,
    connection_string BLOB NOT NULL,
    topic TEXT NOT NULL,
    body TEXT NOT NULL,
    transport TEXT NOT NULL,
    content_type TEXT,
    all_devices BOOLEAN NOT NULL,
    device_id_template TEXT NOT NULL,
    on_existing TEXT NOT NULL,
    on_missing TEXT NOT NULL,
    on_full TEXT NOT NULL,
    hub_ca TEXT,
    hub_endpoint TEXT,
    state TEXT NOT NULL,
    last_error TEXT,
    removal TEXT,
    low_water BIGINT NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE bindings (
    id TEXT NOT NULL PRIMARY KEY,
    integration TEXT NOT NULL REFERENCES integrations (id),
    device TEXT NOT NULL REFERENCES devices (id),
    host_name TEXT NOT NULL,
    hub_device_id TEXT NOT NULL,
    state TEXT NOT NULL,
    made_by_us BOOLEAN NOT NULL,
    generation_id TEXT,
    primary_key BLOB NOT NULL,
    secondary_key BLOB NOT NULL,
    start_offset BIGINT NOT NULL,
    last_error TEXT,
    failed_step TEXT,
    created_at BIGINT NOT NULL,
    UNIQUE (integration, device),
    UNIQUE (host_name, hub_device_id)
);

CREATE INDEX bindings_device ON bindings (device);

-- The moving part of a binding, apart from it because it is written several times a second.
-- settled NULL: the integration's low_water says it.
CREATE TABLE lanes (
    integration TEXT NOT NULL,
    device TEXT NOT NULL,
    settled BIGINT,
    delivered BIGINT NOT NULL,
    PRIMARY KEY (integration, device),
    FOREIGN KEY (integration, device) REFERENCES bindings (integration, device) ON DELETE CASCADE
);

-- Identities Hubward made, as the hub numbered them: no others are ever deleted.
CREATE TABLE made_identities (
    host_name TEXT NOT NULL,
    hub_device_id TEXT NOT NULL,
    generation_id TEXT NOT NULL,
    made_at BIGINT NOT NULL,
    PRIMARY KEY (host_name, hub_device_id, generation_id)
);

-- What is still to be deleted at hubs that were away; holds all it takes, for its binding is gone.
CREATE TABLE pending_deletions (
    id TEXT NOT NULL PRIMARY KEY,
    host_name TEXT NOT NULL,
    hub_device_id TEXT NOT NULL,
    generation_id TEXT,
    key_digest BLOB NOT NULL,
    connection_string BLOB NOT NULL,
    device TEXT NOT NULL,
    integration TEXT NOT NULL,
    hub_ca TEXT,
    hub_endpoint TEXT,
    since BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    last_error TEXT
);

CREATE TABLE dead_letters (
    id TEXT NOT NULL PRIMARY KEY,
    integration TEXT NOT NULL,
    device TEXT NOT NULL,
    message_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    hub_error TEXT,
    attempts BIGINT NOT NULL,
    at BIGINT NOT NULL,
    record_offset BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    only_for TEXT,
    topic TEXT NOT NULL,
    qos BIGINT NOT NULL,
    retain BOOLEAN NOT NULL,
    content_type TEXT,
    user_properties TEXT NOT NULL,
    size BIGINT NOT NULL,
    note BLOB NOT NULL,
    payload BLOB NOT NULL,
    UNIQUE (integration, device, message_id),
    FOREIGN KEY (integration, device) REFERENCES bindings (integration, device) ON DELETE CASCADE
);

CREATE INDEX dead_letters_at ON dead_letters (at, id);

CREATE TABLE users (
    name TEXT NOT NULL PRIMARY KEY,
    phc TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE api_tokens (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    scopes TEXT NOT NULL,
    digest BLOB NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT
);

CREATE TABLE audit_log (
    id TEXT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    who TEXT NOT NULL,
    what TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL
);

CREATE INDEX audit_log_at ON audit_log (at, id);
