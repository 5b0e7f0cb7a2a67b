-- What pages ask is found by an index, and sums stand ready: no read grows with what is stored.

CREATE TABLE expired_totals (
    integration TEXT NOT NULL PRIMARY KEY REFERENCES integrations (id) ON DELETE CASCADE,
    ranges BIGINT NOT NULL,
    signals BIGINT NOT NULL,
    bytes BIGINT NOT NULL
);
INSERT INTO expired_totals (integration, ranges, signals, bytes)
SELECT integration, COUNT(*), SUM(count), SUM(bytes) FROM expired GROUP BY integration;

CREATE TRIGGER expired_counted_in AFTER INSERT ON expired BEGIN
    INSERT INTO expired_totals (integration, ranges, signals, bytes)
    VALUES (NEW.integration, 1, NEW.count, NEW.bytes)
    ON CONFLICT (integration) DO UPDATE
    SET ranges = ranges + 1, signals = signals + excluded.signals, bytes = bytes + excluded.bytes;
END;

CREATE INDEX expired_integration ON expired (integration, at, id);
CREATE INDEX expired_newest ON expired (integration, device, at, id);

CREATE INDEX alarms_kind ON alarms (kind, since, id);
CREATE INDEX alarms_integration ON alarms (integration, since, id);

CREATE INDEX audit_log_who ON audit_log (who, at, id);
CREATE INDEX audit_log_subject ON audit_log (subject, at, id);

-- Whether nothing needs an identity that Hubward made: no binding sends as it, and none is to be deleted by that name.
ALTER TABLE made_identities ADD COLUMN orphaned BOOLEAN NOT NULL DEFAULT 0;
CREATE INDEX pending_deletions_identity ON pending_deletions (host_name, hub_device_id);
UPDATE made_identities SET orphaned = 1
WHERE NOT EXISTS (SELECT 1 FROM bindings b
    WHERE b.host_name = made_identities.host_name AND b.hub_device_id = made_identities.hub_device_id)
AND NOT EXISTS (SELECT 1 FROM pending_deletions p
    WHERE p.host_name = made_identities.host_name AND p.hub_device_id = made_identities.hub_device_id);
CREATE INDEX made_identities_orphaned ON made_identities (host_name, hub_device_id, made_at) WHERE orphaned = 1;

CREATE TRIGGER identity_made AFTER INSERT ON made_identities BEGIN
    UPDATE made_identities SET orphaned = NOT EXISTS (SELECT 1 FROM bindings b
        WHERE b.host_name = NEW.host_name AND b.hub_device_id = NEW.hub_device_id)
    AND NOT EXISTS (SELECT 1 FROM pending_deletions p
        WHERE p.host_name = NEW.host_name AND p.hub_device_id = NEW.hub_device_id)
    WHERE host_name = NEW.host_name AND hub_device_id = NEW.hub_device_id;
END;

CREATE TRIGGER identity_bound AFTER INSERT ON bindings BEGIN
    UPDATE made_identities SET orphaned = 0 WHERE host_name = NEW.host_name AND hub_device_id = NEW.hub_device_id;
END;

CREATE TRIGGER identity_left AFTER DELETE ON bindings BEGIN
    UPDATE made_identities SET orphaned = NOT EXISTS (SELECT 1 FROM pending_deletions p
        WHERE p.host_name = OLD.host_name AND p.hub_device_id = OLD.hub_device_id)
    WHERE host_name = OLD.host_name AND hub_device_id = OLD.hub_device_id;
END;

CREATE TRIGGER identity_changed AFTER UPDATE OF hub_device_id ON bindings WHEN OLD.hub_device_id <> NEW.hub_device_id BEGIN
    UPDATE made_identities SET orphaned = NOT EXISTS (SELECT 1 FROM pending_deletions p
        WHERE p.host_name = OLD.host_name AND p.hub_device_id = OLD.hub_device_id)
    WHERE host_name = OLD.host_name AND hub_device_id = OLD.hub_device_id;
    UPDATE made_identities SET orphaned = 0 WHERE host_name = NEW.host_name AND hub_device_id = NEW.hub_device_id;
END;

CREATE TRIGGER identity_to_delete AFTER INSERT ON pending_deletions BEGIN
    UPDATE made_identities SET orphaned = 0 WHERE host_name = NEW.host_name AND hub_device_id = NEW.hub_device_id;
END;

CREATE TRIGGER identity_deleted AFTER DELETE ON pending_deletions BEGIN
    UPDATE made_identities SET orphaned = NOT EXISTS (SELECT 1 FROM bindings b
        WHERE b.host_name = OLD.host_name AND b.hub_device_id = OLD.hub_device_id)
    AND NOT EXISTS (SELECT 1 FROM pending_deletions p
        WHERE p.host_name = OLD.host_name AND p.hub_device_id = OLD.hub_device_id)
    WHERE host_name = OLD.host_name AND hub_device_id = OLD.hub_device_id;
END;
