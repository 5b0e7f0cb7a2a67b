-- Free hubs count in pieces of 0.5 KB. What was counted before says the least that these were.
ALTER TABLE hub_usage ADD COLUMN units_half_k BIGINT NOT NULL DEFAULT 0;
UPDATE hub_usage SET units_half_k = units_4k;
