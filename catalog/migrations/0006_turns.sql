-- Work of which one process at a time does a round, such as maintenance: whose turn it is,
-- and when a round ended last.
CREATE TABLE turns (
    name           TEXT   NOT NULL PRIMARY KEY,
    -- Who has it, for people to read.
    holder         TEXT   NOT NULL,
    -- Counted up with every turn: what comes under an older number is refused.
    fence          BIGINT NOT NULL,
    lease_until_us BIGINT NOT NULL,
    ended_at_us    BIGINT NOT NULL
);
