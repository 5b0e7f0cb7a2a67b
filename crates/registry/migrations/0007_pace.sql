-- What a user said of the size of an integration's hub: its tier, and how many units of it. Null: not said.
ALTER TABLE integrations ADD COLUMN tier TEXT;
ALTER TABLE integrations ADD COLUMN units BIGINT;
