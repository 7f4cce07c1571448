-- The catalog's tables. Only BIGINT and TEXT, `$1` placeholders and plain SQL, so
-- that SQLite and PostgreSQL read the same file. Times (`_us`) are microseconds
-- since 1970 in UTC; hashes are 64 hex digits; structures are JSON.

CREATE TABLE keys (
    id            TEXT   NOT NULL PRIMARY KEY,
    -- SHA-256 of the token; the token itself is nowhere.
    token_sha256  TEXT   NOT NULL UNIQUE,
    name          TEXT   NOT NULL,
    owner         TEXT   NOT NULL,
    scopes        TEXT   NOT NULL,
    -- The only dataset the key may touch. No foreign key: the key outlives the dataset.
    dataset_id    TEXT,
    created_at_us BIGINT NOT NULL,
    revoked_at_us BIGINT
);
CREATE INDEX keys_by_owner ON keys (owner, created_at_us);

CREATE TABLE datasets (
    id             TEXT   NOT NULL PRIMARY KEY,
    owner          TEXT   NOT NULL,
    name           TEXT   NOT NULL,
    policy         TEXT   NOT NULL,
    created_at_us  BIGINT NOT NULL,
    -- A tombstone: the dataset is gone for everybody, its files are not yet.
    deleted_at_us  BIGINT,
    -- The newest event's number. Taken by UPDATE, hence in commit order: a reader
    -- that has seen event 7 can never meet event 6 later.
    last_event_seq BIGINT NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX living_datasets_by_name ON datasets (owner, name) WHERE deleted_at_us IS NULL;

CREATE TABLE labels (
    dataset_id TEXT NOT NULL REFERENCES datasets (id),
    label      TEXT NOT NULL,
    PRIMARY KEY (dataset_id, label)
);

CREATE TABLE captures (
    id              TEXT   NOT NULL PRIMARY KEY,
    dataset_id      TEXT   NOT NULL REFERENCES datasets (id),
    label           TEXT   NOT NULL,
    sha256          TEXT   NOT NULL,
    received_at_us  BIGINT NOT NULL,
    status          TEXT   NOT NULL,
    reason          TEXT,
    detail          TEXT,
    twin_id         TEXT,
    phash_distance  BIGINT,
    pdq_distance    BIGINT,
    scores          TEXT,
    group_id        TEXT,
    split           TEXT,
    table_version   BIGINT,
    decided_at_us   BIGINT
);
-- Is this file here already?
CREATE INDEX captures_by_hash ON captures (dataset_id, sha256);
-- The lists, with and without a status.
CREATE INDEX captures_by_id ON captures (dataset_id, id);
CREATE INDEX captures_by_status ON captures (dataset_id, status, id);
-- All that the statistics ask for, so that they never touch a row.
CREATE INDEX captures_by_label ON captures (dataset_id, label, status, reason, table_version);

CREATE TABLE capture_events (
    dataset_id TEXT   NOT NULL REFERENCES datasets (id),
    seq        BIGINT NOT NULL,
    capture_id TEXT   NOT NULL,
    PRIMARY KEY (dataset_id, seq)
);

CREATE TABLE requests (
    dataset_id      TEXT   NOT NULL REFERENCES datasets (id),
    idempotency_key TEXT   NOT NULL,
    -- The id that every try of this request uses.
    capture_id      TEXT   NOT NULL,
    begun_at_us     BIGINT NOT NULL,
    lease_until_us  BIGINT NOT NULL,
    -- What was sent and what was answered; absent while the request runs.
    fingerprint     TEXT,
    status          BIGINT,
    body            TEXT,
    PRIMARY KEY (dataset_id, idempotency_key)
);
CREATE INDEX requests_by_age ON requests (begun_at_us);

-- One row, rewritten by each readiness probe.
CREATE TABLE probes (
    id           BIGINT NOT NULL PRIMARY KEY,
    probed_at_us BIGINT NOT NULL
);
