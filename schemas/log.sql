-- The embedded log: one SQLite file, `log.db`. Rows are only ever inserted; the counts at the end are the one thing that
-- is updated, in the transaction of the events that they count. Times and identifiers of persons are in no clear column.
--
-- Streams are numbered as in weft.event.v1.Stream: 1 feed, 2 identity, 3 control, 4 access. Verdicts are numbered as in
-- weft.event.v1.Verdict: 1 accepted, 2 duplicate, 3 conflict, 4 quarantined.

-- The events of each stream's only partition, offsets dense from 0. `leaf` is the SHA-256 of a zero byte and `envelope`,
-- an encoded weft.event.v1.Envelope.
CREATE TABLE event_feed (offset INTEGER PRIMARY KEY, leaf BLOB NOT NULL, envelope BLOB NOT NULL) STRICT;
CREATE TABLE event_identity (offset INTEGER PRIMARY KEY, leaf BLOB NOT NULL, envelope BLOB NOT NULL) STRICT;
CREATE TABLE event_control (offset INTEGER PRIMARY KEY, leaf BLOB NOT NULL, envelope BLOB NOT NULL) STRICT;
CREATE TABLE event_access (offset INTEGER PRIMARY KEY, leaf BLOB NOT NULL, envelope BLOB NOT NULL) STRICT;

-- Feed names by number, so that the inbox does not repeat them.
CREATE TABLE feed (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;

-- Every message by what its sender calls it. `control_id` is a byte 1 and the control id, so that ids that count up are
-- added at the right edge; or a byte 0 and the event id, for a message without a control id.
CREATE TABLE inbox (
  feed INTEGER NOT NULL,
  control_id BLOB NOT NULL,
  event_id BLOB NOT NULL,
  stream INTEGER NOT NULL,
  offset INTEGER NOT NULL,
  verdict INTEGER NOT NULL,
  PRIMARY KEY (feed, control_id, event_id)
) STRICT, WITHOUT ROWID;

-- Every event that is no message, by its id.
CREATE TABLE event_name (
  event_id BLOB PRIMARY KEY,
  stream INTEGER NOT NULL,
  offset INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The slot in the key vault of each source record.
CREATE TABLE key_slot (record BLOB PRIMARY KEY, slot INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- Messages by feed and verdict. A duplicate has no event, but it is counted.
CREATE TABLE verdict_count (
  feed INTEGER NOT NULL,
  verdict INTEGER NOT NULL,
  count INTEGER NOT NULL,
  PRIMARY KEY (feed, verdict)
) STRICT, WITHOUT ROWID;

-- Events and bytes of their envelopes, by stream.
CREATE TABLE partition_size (stream INTEGER PRIMARY KEY, events INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT;
INSERT INTO partition_size VALUES (1, 0, 0), (2, 0, 0), (3, 0, 0), (4, 0, 0);

-- One row: a keyed fingerprint of the vault that the events are sealed with, and the first key slot that no source record
-- has.
CREATE TABLE vault (fingerprint BLOB NOT NULL, next_key_slot INTEGER NOT NULL) STRICT;
