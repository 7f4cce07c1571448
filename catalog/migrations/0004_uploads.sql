-- Uploads that arrive in several requests. Their bytes lie in the object store; here stands
-- where, and who may write.

CREATE TABLE uploads (
    id             TEXT   NOT NULL PRIMARY KEY,
    dataset_id     TEXT   NOT NULL REFERENCES datasets (id),
    -- The only key that may touch it.
    key_id         TEXT   NOT NULL,
    -- What was said of the photo when the upload began.
    head           TEXT   NOT NULL,
    -- How long it will be; absent until somebody says so.
    length_bytes   BIGINT,
    received_bytes BIGINT NOT NULL DEFAULT 0,
    -- The objects with its bytes, in their order.
    parts          TEXT   NOT NULL,
    -- Who writes must know this number; whoever takes over counts it up.
    fence          BIGINT NOT NULL DEFAULT 0,
    -- 1 while somebody has the turn.
    writing        BIGINT NOT NULL DEFAULT 0,
    -- The last answer; absent until the upload is complete.
    status         BIGINT,
    body           TEXT,
    created_at_us  BIGINT NOT NULL,
    expires_at_us  BIGINT NOT NULL
);
CREATE INDEX uploads_by_expiry ON uploads (expires_at_us);
-- What is open counts against limits.
CREATE INDEX open_uploads_by_dataset ON uploads (dataset_id) WHERE status IS NULL;
CREATE INDEX open_uploads_by_key ON uploads (key_id) WHERE status IS NULL;

-- The SHA-1 of photos that came from clients who know no other hash.
CREATE TABLE checksums (
    dataset_id TEXT NOT NULL REFERENCES datasets (id),
    sha1       TEXT NOT NULL,
    sha256     TEXT NOT NULL,
    PRIMARY KEY (dataset_id, sha1)
);
