-- The embedded log: one SQLite file, `log.db`. Rows are only ever inserted; the counts at the end are the one thing that
-- is updated, in the transaction of the events that they count. Identifiers of persons are in no clear column.
--
-- Streams are numbered as in weft.event.v1.Stream: 1 feed, 2 identity, 3 control, 4 access. Verdicts are numbered as in
-- weft.event.v1.Verdict: 1 accepted, 2 duplicate, 3 conflict, 4 quarantined; and 5: accepted when it was read again from the
-- log, which is not counted as received.

-- The events of each stream's only partition, offsets dense from 0. `leaf` is the SHA-256 of a zero byte and `envelope`,
-- an encoded weft.event.v1.Envelope.
CREATE TABLE event_feed (offset INTEGER PRIMARY KEY, leaf BLOB NOT NULL, envelope BLOB NOT NULL) STRICT;
CREATE TABLE event_identity (offset INTEGER PRIMARY KEY, leaf BLOB NOT NULL, envelope BLOB NOT NULL) STRICT;
CREATE TABLE event_control (offset INTEGER PRIMARY KEY, leaf BLOB NOT NULL, envelope BLOB NOT NULL) STRICT;
CREATE TABLE event_access (offset INTEGER PRIMARY KEY, leaf BLOB NOT NULL, envelope BLOB NOT NULL) STRICT;

-- Feed names by number, so that the inbox does not repeat them.
CREATE TABLE feed (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;

-- Every message by what its sender calls it. `control_id` is a byte 1 and the control id, so that ids that count up are
-- added at the right edge; or a byte 0 and the event id, for a message without a control id. One that is accepted after it was
-- kept has two rows: the second under an event id that is made of the first.
CREATE TABLE inbox (
  feed INTEGER NOT NULL,
  control_id BLOB NOT NULL,
  event_id BLOB NOT NULL,
  stream INTEGER NOT NULL,
  offset INTEGER NOT NULL,
  verdict INTEGER NOT NULL,
  PRIMARY KEY (feed, control_id, event_id)
) STRICT, WITHOUT ROWID;

-- Every event that is no message, by its id. Ids of a series, such as decisions and disclosures, begin with a number that grows.
CREATE TABLE event_name (
  event_id BLOB PRIMARY KEY,
  stream INTEGER NOT NULL,
  offset INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The slot in the key vault of each source record, by its keyed pseudonym.
CREATE TABLE key_slot (slot INTEGER PRIMARY KEY, record BLOB NOT NULL UNIQUE) STRICT;

-- What arrived and what was stored of it, by stream, feed (-1: none) and verdict (0: none). A duplicate has no event and
-- no bytes, but it is counted.
CREATE TABLE count (
  stream INTEGER NOT NULL,
  feed INTEGER NOT NULL,
  verdict INTEGER NOT NULL,
  count INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  PRIMARY KEY (stream, feed, verdict)
) STRICT, WITHOUT ROWID;

-- One row: a keyed fingerprint of the vault that the events are sealed with.
CREATE TABLE vault (fingerprint BLOB NOT NULL) STRICT;
