-- People have roles and sessions, tokens remember their last use, the audit log says from where, and creates may be
-- repeated. Whoever was a user before there were roles could do everything.

ALTER TABLE users ADD COLUMN role TEXT NOT NULL DEFAULT 'admin';
ALTER TABLE users ADD COLUMN version BIGINT NOT NULL DEFAULT 1;
ALTER TABLE users ADD COLUMN last_login_at BIGINT;

ALTER TABLE api_tokens ADD COLUMN last_used_at BIGINT;

ALTER TABLE audit_log ADD COLUMN via TEXT;
ALTER TABLE audit_log ADD COLUMN remote TEXT;

-- A session's secret is kept as its SHA-256.
CREATE TABLE sessions (
    id TEXT NOT NULL PRIMARY KEY,
    user_name TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    digest BLOB NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    remote TEXT,
    user_agent TEXT
);

CREATE INDEX sessions_user ON sessions (user_name, created_at);

-- The one way to make the first user; one row, or none.
CREATE TABLE setup_token (
    digest BLOB NOT NULL PRIMARY KEY
);

-- Answers to creates, kept a day: sealed, for they hold secrets that are shown once.
CREATE TABLE idempotency (
    id TEXT NOT NULL PRIMARY KEY,
    caller TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    answer BLOB NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (caller, idempotency_key)
);

CREATE INDEX idempotency_created ON idempotency (created_at);
