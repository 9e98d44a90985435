-- Closed periods keep their statements as they were; the zone in which periods began is kept too.
CREATE TABLE statements (
    serial BIGINT PRIMARY KEY, -- 1, 2, 3 … without gaps over all periods
    number VARCHAR NOT NULL,
    period VARCHAR NOT NULL,
    workspace_id VARCHAR NOT NULL,
    currency VARCHAR NOT NULL,
    canonical VARCHAR NOT NULL, -- the whole statement, its hash left out
    sha256 VARCHAR NOT NULL, -- of `canonical`
    closed_at TIMESTAMPTZ NOT NULL
);

-- One row: what may not change once there are charges.
CREATE TABLE billing_terms (timezone VARCHAR NOT NULL);
