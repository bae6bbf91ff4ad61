-- The read model on PostgreSQL, in a schema of its own: a function of the log. Drop the schema, replay, and every row comes
-- back. The tables are those of readmodel.sql, where what they hold is described; here is what is different.
--
-- The three tables that grow with every message are partitioned as the feed stream is: record numbers and places of
-- partition n are from n * 2^40 on, so that a row says where it belongs. Whoever projects a partition writes into tables
-- that nobody else writes to. Their parts (entry_0, fact_0, told_0, ...) are made when a partition is first followed.
--
-- Text is compared byte by byte, as on SQLite.

-- One row. Version 0: a rebuild that has not come to its end. It is no read model.
CREATE TABLE projection (
    name text PRIMARY KEY,
    version bigint NOT NULL
);

CREATE TABLE cursor (
    stream text COLLATE "C" NOT NULL,
    partition bigint NOT NULL,
    next bigint NOT NULL,
    epoch bigint NOT NULL,
    PRIMARY KEY (stream, partition)
) WITH (fillfactor = 50);

CREATE TABLE linker (
    partition bigint PRIMARY KEY,
    next bigint NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE applied_event (
    event_id bytea PRIMARY KEY,
    known_from bigint NOT NULL
);

-- The value of an identifier is as long as its sender likes; the index has its beginning.
CREATE TABLE record (
    record_no bigint PRIMARY KEY,
    pseudonym bytea NOT NULL UNIQUE,
    organisation text COLLATE "C" NOT NULL,
    system text COLLATE "C" NOT NULL,
    value text COLLATE "C" NOT NULL,
    feed text COLLATE "C" NOT NULL,
    known_from bigint NOT NULL
);
CREATE INDEX record_local ON record (substr(value, 1, 64));

CREATE TABLE record_version (
    record_no bigint NOT NULL,
    known_from bigint NOT NULL,
    known_to bigint,
    recorded_us bigint NOT NULL,
    demographics bytea NOT NULL,
    PRIMARY KEY (record_no, known_from)
) WITH (fillfactor = 90);

CREATE TABLE record_nhs (
    nhs_number bigint NOT NULL,
    record_no bigint NOT NULL,
    PRIMARY KEY (nhs_number, record_no)
);

CREATE TABLE record_name (
    family_key text COLLATE "C" NOT NULL,
    birth_date text COLLATE "C" NOT NULL,
    record_no bigint NOT NULL,
    PRIMARY KEY (family_key, birth_date, record_no)
);

CREATE TABLE entry (
    record_no bigint NOT NULL,
    occurred_us bigint NOT NULL,
    entry_key bigint NOT NULL,
    known_from bigint NOT NULL,
    known_to bigint,
    fact_index integer NOT NULL,
    body_at integer NOT NULL,
    body_length integer NOT NULL,
    kind smallint NOT NULL,
    withdrawn smallint NOT NULL
) PARTITION BY RANGE (record_no);
CREATE UNIQUE INDEX entry_order ON entry (record_no, occurred_us DESC, entry_key, known_from, fact_index);

CREATE TABLE told (
    known_from bigint NOT NULL,
    bodies bytea NOT NULL
) PARTITION BY RANGE (known_from);
CREATE UNIQUE INDEX told_place ON told (known_from);

CREATE TABLE fact (
    record_no bigint NOT NULL,
    entry_key bigint NOT NULL,
    state bytea NOT NULL
) PARTITION BY RANGE (record_no);
CREATE UNIQUE INDEX fact_key ON fact (record_no, entry_key);

CREATE TABLE encounter (
    record_no bigint NOT NULL,
    visit text COLLATE "C" NOT NULL,
    known_from bigint NOT NULL,
    known_to bigint,
    status text COLLATE "C" NOT NULL,
    class text COLLATE "C" NOT NULL,
    start_us bigint,
    end_us bigint,
    location text COLLATE "C" NOT NULL,
    movements bytea NOT NULL,
    PRIMARY KEY (record_no, visit, known_from)
) WITH (fillfactor = 90);

CREATE TABLE link (
    pseudonym bytea NOT NULL,
    known_from bigint NOT NULL,
    known_to bigint,
    person bytea NOT NULL,
    method bigint NOT NULL,
    score bigint NOT NULL,
    decided_us bigint NOT NULL,
    decision bytea NOT NULL,
    PRIMARY KEY (pseudonym, known_from)
) WITH (fillfactor = 90);
CREATE INDEX link_person ON link (person);

CREATE TABLE merge (
    retired bytea NOT NULL,
    known_from bigint NOT NULL,
    known_to bigint,
    survivor bytea NOT NULL,
    decided_us bigint NOT NULL,
    PRIMARY KEY (retired, known_from)
) WITH (fillfactor = 90);
CREATE INDEX merge_survivor ON merge (survivor);

CREATE TABLE review (
    pseudonym bytea NOT NULL,
    known_from bigint NOT NULL,
    known_to bigint,
    risk bigint NOT NULL,
    codes text COLLATE "C" NOT NULL,
    asked_us bigint NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (pseudonym, known_from)
) WITH (fillfactor = 90);
CREATE INDEX review_risk ON review (risk, known_from);

CREATE TABLE ruling (
    known_from bigint PRIMARY KEY,
    kind bigint NOT NULL,
    decided_us bigint NOT NULL,
    body bytea NOT NULL
);

CREATE TABLE feed (
    feed text COLLATE "C" PRIMARY KEY,
    state text COLLATE "C" NOT NULL CHECK (state IN ('registered', 'paused')),
    profile_toml text COLLATE "C" NOT NULL,
    revision bigint NOT NULL,
    registered_us bigint NOT NULL
);

CREATE TABLE feed_health (
    feed text COLLATE "C" NOT NULL,
    partition bigint NOT NULL,
    accepted bigint NOT NULL,
    conflict bigint NOT NULL,
    quarantined bigint NOT NULL,
    redriven bigint NOT NULL,
    held bigint NOT NULL,
    last_received_us bigint NOT NULL,
    last_offset bigint NOT NULL,
    PRIMARY KEY (feed, partition)
) WITH (fillfactor = 50);

CREATE TABLE quarantine (
    known_from bigint PRIMARY KEY,
    feed text COLLATE "C" NOT NULL,
    received_us bigint NOT NULL,
    body bytea NOT NULL
);
CREATE INDEX quarantine_received ON quarantine (received_us, known_from);
CREATE INDEX quarantine_feed ON quarantine (feed, received_us, known_from);

CREATE TABLE redrive (
    known_from bigint PRIMARY KEY,
    held bigint NOT NULL,
    redriven_us bigint NOT NULL,
    resent bigint NOT NULL
);
CREATE INDEX redrive_held ON redrive (held);

CREATE TABLE parked (
    pseudonym bytea NOT NULL,
    stream text COLLATE "C" NOT NULL,
    known_from bigint NOT NULL,
    code text COLLATE "C" NOT NULL,
    PRIMARY KEY (pseudonym, stream)
);

CREATE TABLE parked_event (
    stream text COLLATE "C" NOT NULL,
    known_from bigint NOT NULL,
    pseudonym bytea,
    code text COLLATE "C" NOT NULL,
    PRIMARY KEY (stream, known_from)
);
