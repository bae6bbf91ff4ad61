-- The read model on SQLite: a function of the log. Drop the file, replay, and every row comes back. The tables of
-- readmodel-postgres.sql are the same.
--
-- A place is an offset and its partition in one number: partition * 2^40 + offset. "Known" times are places in the stream
-- that the row comes from: a row was known at a cut whose place for its partition is n where known_from < n and (known_to
-- is null or known_to >= n). known_from = known_to: told, but never what was known.
--
-- record_no is given out by this file alone, from partition * 2^40 on, so that it says which partition of the feed stream
-- tells of the record. Nothing that leaves the file depends on the numbers. What comes from the identity stream speaks of
-- records by their pseudonyms: the streams depend on nothing of each other.

CREATE TABLE projection (
    name TEXT PRIMARY KEY,
    version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Offset of the next event of each partition. epoch: which of its owners may go on (always 0 where there is one writer).
CREATE TABLE cursor (
    stream TEXT NOT NULL,
    partition INTEGER NOT NULL,
    next INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    PRIMARY KEY (stream, partition)
) STRICT, WITHOUT ROWID;

-- The linker's place in each partition of the feed stream, and under -1 in the identity stream. Not part of the projection.
CREATE TABLE linker (
    partition INTEGER PRIMARY KEY,
    next INTEGER NOT NULL
) STRICT;

-- Events that were applied, where the log may hold one twice: the first counts. Not part of what is compared.
CREATE TABLE applied_event (
    event_id BLOB PRIMARY KEY,
    known_from INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Source records, from the first message that tells of them. The row never changes.
CREATE TABLE record (
    record_no INTEGER PRIMARY KEY,
    pseudonym BLOB NOT NULL UNIQUE,
    organisation TEXT NOT NULL,
    system TEXT NOT NULL,
    value TEXT NOT NULL,
    feed TEXT NOT NULL,
    known_from INTEGER NOT NULL
) STRICT;
CREATE INDEX record_local ON record (value, organisation);

-- What a record says of its person. demographics: weft.event.v1.Demographics, folded (only what the one message said,
-- where it was told too late to be known).
CREATE TABLE record_version (
    record_no INTEGER NOT NULL,
    known_from INTEGER NOT NULL,
    known_to INTEGER,
    recorded_us INTEGER NOT NULL,
    demographics BLOB NOT NULL,
    PRIMARY KEY (record_no, known_from)
) STRICT, WITHOUT ROWID;

-- Search: every number and name that a record ever had; a query checks what it finds against the version it asks of.
CREATE TABLE record_nhs (
    nhs_number INTEGER NOT NULL,
    record_no INTEGER NOT NULL,
    PRIMARY KEY (nhs_number, record_no)
) STRICT, WITHOUT ROWID;

CREATE TABLE record_name (
    family_key TEXT NOT NULL,
    birth_date TEXT NOT NULL,
    record_no INTEGER NOT NULL,
    PRIMARY KEY (family_key, birth_date, record_no)
) STRICT, WITHOUT ROWID;

-- Versions of facts that make a line, a record's in timeline order. The line itself is bytes body_at .. body_at +
-- body_length of what its message tells (told.bodies): this table is narrow, so that what arrives for many records touches
-- few pages.
CREATE TABLE entry (
    record_no INTEGER NOT NULL,
    occurred_us INTEGER NOT NULL,
    entry_key INTEGER NOT NULL,
    known_from INTEGER NOT NULL,
    fact_index INTEGER NOT NULL,
    known_to INTEGER,
    kind INTEGER NOT NULL,
    withdrawn INTEGER NOT NULL,
    body_at INTEGER NOT NULL,
    body_length INTEGER NOT NULL,
    PRIMARY KEY (record_no, occurred_us DESC, entry_key, known_from, fact_index)
) STRICT, WITHOUT ROWID;

-- The lines of each message, in the order of the log: only its end is ever written. bodies: elements of
-- weft.v1.GetTimelineResponse.entries, tag and length included, one after the other: such elements in a row are that list,
-- ready to be served.
CREATE TABLE told (
    known_from INTEGER PRIMARY KEY,
    bodies BLOB NOT NULL
) STRICT;

-- The current version of every fact that has or had a line: what the next message is compared with. state: the fold's own
-- message (entries.rs), which holds the key again.
CREATE TABLE fact (
    record_no INTEGER NOT NULL,
    entry_key INTEGER NOT NULL,
    state BLOB NOT NULL,
    PRIMARY KEY (record_no, entry_key)
) STRICT, WITHOUT ROWID;

-- Visits, folded from their Encounter facts.
CREATE TABLE encounter (
    record_no INTEGER NOT NULL,
    visit TEXT NOT NULL,
    known_from INTEGER NOT NULL,
    known_to INTEGER,
    status TEXT NOT NULL,
    class TEXT NOT NULL,
    start_us INTEGER,
    end_us INTEGER,
    location TEXT NOT NULL,
    movements BLOB NOT NULL,
    PRIMARY KEY (record_no, visit, known_from)
) STRICT, WITHOUT ROWID;

-- Which person a record belongs to. decision: weft.event.v1.RecordLinked.
CREATE TABLE link (
    pseudonym BLOB NOT NULL,
    known_from INTEGER NOT NULL,
    known_to INTEGER,
    person BLOB NOT NULL,
    method INTEGER NOT NULL,
    score INTEGER NOT NULL,
    decided_us INTEGER NOT NULL,
    decision BLOB NOT NULL,
    PRIMARY KEY (pseudonym, known_from)
) STRICT, WITHOUT ROWID;
CREATE INDEX link_person ON link (person);

-- Records that their organisation merged: the retired one follows the survivor.
CREATE TABLE merge (
    retired BLOB NOT NULL,
    known_from INTEGER NOT NULL,
    known_to INTEGER,
    survivor BLOB NOT NULL,
    decided_us INTEGER NOT NULL,
    PRIMARY KEY (retired, known_from)
) STRICT, WITHOUT ROWID;
CREATE INDEX merge_survivor ON merge (survivor);

-- The review queue: of each record the newest question, until it is settled. risk: the higher, the sooner. codes: each with
-- a space before and after it. body: weft.event.v1.RecordLinked, the decision that asks.
CREATE TABLE review (
    pseudonym BLOB NOT NULL,
    known_from INTEGER NOT NULL,
    known_to INTEGER,
    risk INTEGER NOT NULL,
    codes TEXT NOT NULL,
    asked_us INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (pseudonym, known_from)
) STRICT, WITHOUT ROWID;
CREATE INDEX review_risk ON review (risk, known_from);

-- What outranks scores, as it was told: stewards' decisions and the like. kind: weft.event.v1.EventKind. body: its payload.
CREATE TABLE ruling (
    known_from INTEGER PRIMARY KEY,
    kind INTEGER NOT NULL,
    decided_us INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;

CREATE TABLE feed (
    feed TEXT PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('registered', 'paused')),
    profile_toml TEXT NOT NULL,
    revision INTEGER NOT NULL,
    registered_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What arrived of each feed in each partition, by what the log says; duplicates are no events and are counted by the log.
-- redriven: read again from the log, which are none of those that arrived. held: how many more this partition keeps than it
-- accepts that were kept, in whatever partition: the sum of all partitions is what is kept now.
CREATE TABLE feed_health (
    feed TEXT NOT NULL,
    partition INTEGER NOT NULL,
    accepted INTEGER NOT NULL,
    conflict INTEGER NOT NULL,
    quarantined INTEGER NOT NULL,
    redriven INTEGER NOT NULL,
    held INTEGER NOT NULL,
    last_received_us INTEGER NOT NULL,
    last_offset INTEGER NOT NULL,
    PRIMARY KEY (feed, partition)
) STRICT, WITHOUT ROWID;

-- Messages that are kept and not projected, or were. body: weft.v1.QuarantinedMessage, ready to be served.
CREATE TABLE quarantine (
    known_from INTEGER PRIMARY KEY,
    feed TEXT NOT NULL,
    received_us INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX quarantine_received ON quarantine (received_us, known_from);
CREATE INDEX quarantine_feed ON quarantine (feed, received_us, known_from);

-- Which of them were accepted since, and where: known_from is the place of the event that was accepted, held that of the one
-- that was kept. Streams' partitions are applied apart: the row may be there before the one in quarantine.
CREATE TABLE redrive (
    known_from INTEGER PRIMARY KEY,
    held INTEGER NOT NULL,
    redriven_us INTEGER NOT NULL,
    resent INTEGER NOT NULL
) STRICT;
CREATE INDEX redrive_held ON redrive (held);

-- Records of which an event could not be applied: their later events of that stream wait.
CREATE TABLE parked (
    pseudonym BLOB NOT NULL,
    stream TEXT NOT NULL,
    known_from INTEGER NOT NULL,
    code TEXT NOT NULL,
    PRIMARY KEY (pseudonym, stream)
) STRICT, WITHOUT ROWID;

-- Every event that was not applied: the first of a parked record, those that wait behind it, and those that are of no
-- record at all.
CREATE TABLE parked_event (
    stream TEXT NOT NULL,
    known_from INTEGER NOT NULL,
    pseudonym BLOB,
    code TEXT NOT NULL,
    PRIMARY KEY (stream, known_from)
) STRICT, WITHOUT ROWID;
