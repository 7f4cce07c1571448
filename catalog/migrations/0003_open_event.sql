-- The event of a capture that no table version holds yet, in Base64: what is published again
-- if the stream has lost it. It goes when the table version is known.
ALTER TABLE captures ADD COLUMN event TEXT;
CREATE INDEX captures_with_event ON captures (id) WHERE event IS NOT NULL;
