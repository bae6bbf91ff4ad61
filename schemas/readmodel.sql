-- The read model on SQLite: a function of the log. Drop the file, replay, and every row comes back.
--
-- "Known" times are offsets in the stream that the row comes from: a row was known at a cut of size n where
-- known_from < n and (known_to is null or known_to >= n). known_from = known_to: told, but never what was known.
-- record_no is given out by this file alone; nothing that leaves it depends on the numbers.

CREATE TABLE projection (
    name TEXT PRIMARY KEY,
    version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Offset of the next event of each partition.
CREATE TABLE cursor (
    stream TEXT NOT NULL,
    partition INTEGER NOT NULL,
    next INTEGER NOT NULL,
    PRIMARY KEY (stream, partition)
) STRICT, WITHOUT ROWID;

-- The linker's place in the feed stream. Not part of the projection.
CREATE TABLE linker (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    next INTEGER NOT NULL
) STRICT;

-- Source records, from their first mention in either stream. What a message tells is null until one does, and never
-- changes then: most messages touch nothing here.
CREATE TABLE record (
    record_no INTEGER PRIMARY KEY,
    pseudonym BLOB NOT NULL UNIQUE,
    organisation TEXT,
    system TEXT,
    value TEXT,
    feed TEXT,
    first_offset INTEGER
) STRICT;
CREATE INDEX record_local ON record (value, organisation) WHERE value IS NOT NULL;

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

-- Versions of facts that make a line, a record's in timeline order. body: a weft.v1.TimelineEntry as an element of
-- weft.v1.GetTimelineResponse.entries, tag and length included: bodies one after the other are that list, ready to be
-- served.
CREATE TABLE entry (
    record_no INTEGER NOT NULL,
    occurred_us INTEGER NOT NULL,
    entry_key INTEGER NOT NULL,
    known_from INTEGER NOT NULL,
    fact_index INTEGER NOT NULL,
    known_to INTEGER,
    kind INTEGER NOT NULL,
    withdrawn INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (record_no, occurred_us DESC, entry_key, known_from, fact_index)
) STRICT, WITHOUT ROWID;

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
    record_no INTEGER NOT NULL,
    known_from INTEGER NOT NULL,
    known_to INTEGER,
    person BLOB NOT NULL,
    method INTEGER NOT NULL,
    score INTEGER NOT NULL,
    decided_us INTEGER NOT NULL,
    decision BLOB NOT NULL,
    PRIMARY KEY (record_no, known_from)
) STRICT, WITHOUT ROWID;
CREATE INDEX link_person ON link (person);

-- Records that their organisation merged: the retired one follows the survivor.
CREATE TABLE merge (
    retired_no INTEGER NOT NULL,
    known_from INTEGER NOT NULL,
    known_to INTEGER,
    survivor_no INTEGER NOT NULL,
    decided_us INTEGER NOT NULL,
    PRIMARY KEY (retired_no, known_from)
) STRICT, WITHOUT ROWID;
CREATE INDEX merge_survivor ON merge (survivor_no);

CREATE TABLE feed (
    feed TEXT PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('registered', 'paused')),
    profile_toml TEXT NOT NULL,
    revision INTEGER NOT NULL,
    registered_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What arrived of each feed, by what the log says; duplicates are no events and are counted by the log.
CREATE TABLE feed_health (
    feed TEXT PRIMARY KEY,
    accepted INTEGER NOT NULL,
    conflict INTEGER NOT NULL,
    quarantined INTEGER NOT NULL,
    last_received_us INTEGER NOT NULL,
    last_offset INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Messages that are kept and not projected. body: weft.v1.QuarantinedMessage, ready to be served.
CREATE TABLE quarantine (
    known_from INTEGER PRIMARY KEY,
    feed TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX quarantine_feed ON quarantine (feed, known_from);

-- Records of which an event could not be applied: their later events of that stream wait.
CREATE TABLE parked (
    record_no INTEGER NOT NULL,
    stream TEXT NOT NULL,
    known_from INTEGER NOT NULL,
    code TEXT NOT NULL,
    PRIMARY KEY (record_no, stream)
) STRICT, WITHOUT ROWID;

-- Every event that was not applied: the first of a parked record, those that wait behind it, and those that are of no
-- record at all.
CREATE TABLE parked_event (
    stream TEXT NOT NULL,
    known_from INTEGER NOT NULL,
    record_no INTEGER,
    code TEXT NOT NULL,
    PRIMARY KEY (stream, known_from)
) STRICT, WITHOUT ROWID;
