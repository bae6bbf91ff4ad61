-- What a log on Kafka keeps in PostgreSQL, in a schema of its own: the inbox that decides verdicts for every connector, the
-- counts of them, and the keys that payloads are sealed with. The events themselves are in Kafka alone. Times and
-- identifiers of persons are in no clear column.
--
-- Streams are numbered as in weft.event.v1.Stream: 1 feed, 2 identity, 3 control, 4 access. Verdicts are numbered as in
-- weft.event.v1.Verdict: 1 accepted, 2 duplicate, 3 conflict, 4 quarantined; and 5: accepted when it was read again from the
-- log, which is not counted as received.
--
-- An event has a row here before it is produced, and its offset once that is known: every event in the log has a row. A
-- `place` of 0 or more is the offset. A negative one says that the outcome is not known yet: -1 - N, where the partition
-- had at least N events before this one was produced; so whoever looks for it starts at N.

-- One row: which topics this schema belongs to. `swept`: every event whose row is older has a place.
CREATE TABLE log (
  cluster text NOT NULL,
  prefix text NOT NULL,
  feed_partitions integer NOT NULL,
  swept timestamptz NOT NULL DEFAULT '-infinity',
  one boolean PRIMARY KEY DEFAULT true CHECK (one)
);

-- Feed names by number, so that the inbox does not repeat them.
CREATE TABLE feed (
  number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL UNIQUE
);

-- Every message by what its sender calls it. `control_id` is a byte 1 and the control id, or a byte 0 and the event id for a
-- message without one. `nth` counts the contents that came under one control id: the first is the message, the others are
-- conflicts, or one of these once more, accepted after it was kept. Two connectors that store under one control id at once
-- claim the same `nth`, and the key lets one pass.
CREATE TABLE inbox (
  feed integer NOT NULL,
  control_id bytea NOT NULL,
  nth smallint NOT NULL,
  verdict smallint NOT NULL,
  partition integer NOT NULL,
  place bigint NOT NULL,
  since timestamptz NOT NULL DEFAULT now(),
  event_id bytea NOT NULL,
  PRIMARY KEY (feed, control_id, nth)
) WITH (fillfactor = 85);

-- Rows without a place are found by their age; a block range index costs inserts next to nothing.
CREATE INDEX inbox_since ON inbox USING brin (since) WITH (autosummarize = on, pages_per_range = 32);

-- Every event that is no message, by its id. Its stream has one partition.
CREATE TABLE event_name (
  event_id bytea PRIMARY KEY,
  stream smallint NOT NULL,
  place bigint NOT NULL,
  since timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 85);

CREATE INDEX event_name_since ON event_name USING brin (since) WITH (autosummarize = on, pages_per_range = 32);

-- The key of each source record, by the record's keyed pseudonym: 12 bytes nonce, the key wrapped under the node key and its
-- tag, 4 bytes check. NULL: destroyed. Slot 0 seals events about no source record, slot 1 makes pseudonyms and event ids.
CREATE TABLE key_slot (
  slot bigint PRIMARY KEY,
  record bytea UNIQUE,
  wrapped bytea
);

CREATE SEQUENCE key_slot_block AS bigint INCREMENT BY 256 START WITH 256 MINVALUE 256;

-- What arrived and what was stored of it, by stream, partition, feed (-1: none) and verdict (0: none). Spread over shards, so
-- that connectors do not wait for each other. A duplicate has no event and no bytes, unless a second copy was stored.
CREATE TABLE count (
  stream smallint NOT NULL,
  partition integer NOT NULL,
  feed integer NOT NULL,
  verdict smallint NOT NULL,
  shard smallint NOT NULL,
  count bigint NOT NULL,
  bytes bigint NOT NULL,
  PRIMARY KEY (stream, partition, feed, verdict, shard)
) WITH (fillfactor = 50);
