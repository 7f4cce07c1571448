-- Trainings and the models that they make. No foreign keys: both outlive the dataset,
-- for a model may be in use on phones long after its photos are gone.

CREATE TABLE trainings (
    id             TEXT   NOT NULL PRIMARY KEY,
    owner          TEXT   NOT NULL,
    dataset_id     TEXT   NOT NULL,
    spec           TEXT   NOT NULL,
    state          TEXT   NOT NULL,
    progress       TEXT   NOT NULL,
    error          TEXT,
    model_id       TEXT,
    attempts       BIGINT NOT NULL DEFAULT 0,
    -- Somebody has called it off; the worker that has it will see.
    cancel         BIGINT NOT NULL DEFAULT 0,
    -- Who works on it, and until when that is believed. A worker writes only under the
    -- lease that it was given: `attempts` tells one lease from the next.
    worker         TEXT,
    lease_until_us BIGINT NOT NULL DEFAULT 0,
    created_at_us  BIGINT NOT NULL,
    started_at_us  BIGINT,
    finished_at_us BIGINT
);
CREATE INDEX trainings_by_owner ON trainings (owner, id);
CREATE INDEX trainings_by_state ON trainings (state, id);

CREATE TABLE models (
    id            TEXT   NOT NULL PRIMARY KEY,
    owner         TEXT   NOT NULL,
    dataset_id    TEXT   NOT NULL,
    training_id   TEXT   NOT NULL UNIQUE,
    -- The model as the API tells it.
    body          TEXT   NOT NULL,
    created_at_us BIGINT NOT NULL
);
CREATE INDEX models_by_owner ON models (owner, id);
