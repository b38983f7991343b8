-- Version 2 of the schema: what hooks, the reaper, alerts and archives look for.
--
-- As in version 1, a column is an index into its record's body and is written from the same value by
-- the same function; rows that are there already get theirs from their bodies here. Rows whose body
-- cannot be read keep the defaults.

CREATE TABLE segment (
    name TEXT NOT NULL PRIMARY KEY,
    deleted_at INTEGER,
    version INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE INDEX segment_deleted ON segment (deleted_at, name) WHERE deleted_at IS NOT NULL;

CREATE TABLE alert (
    -- Its code, and a colon and about whom if it is about someone.
    key TEXT NOT NULL PRIMARY KEY,
    raised_at INTEGER NOT NULL,
    cleared_at INTEGER,
    version INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE INDEX alert_active ON alert (raised_at, key) WHERE cleared_at IS NULL;
CREATE INDEX alert_cleared ON alert (cleared_at, key) WHERE cleared_at IS NOT NULL;

CREATE TABLE reaper (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    version INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

-- How many runs a job has.
CREATE TABLE job_runs (
    job BLOB NOT NULL PRIMARY KEY,
    n INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX job_runs_most ON job_runs (n, job);

-- The triggers of version 1 that count with an upsert. An upsert in a trigger makes SQLite keep a copy
-- of every page that the statement changes, to undo that one statement; batches are undone as a whole.
DROP TRIGGER session_added;
DROP TRIGGER session_moved;
DROP TRIGGER run_added;
DROP TRIGGER run_moved;

CREATE TRIGGER session_added AFTER INSERT ON session BEGIN
    INSERT INTO counter SELECT 'session', new.kind, CAST(new.open AS TEXT), 0 WHERE NOT EXISTS (
        SELECT 1 FROM counter WHERE what = 'session' AND a = new.kind AND b = CAST(new.open AS TEXT));
    UPDATE counter SET n = n + 1 WHERE what = 'session' AND a = new.kind AND b = CAST(new.open AS TEXT);
END;

CREATE TRIGGER session_moved AFTER UPDATE OF kind, open ON session
WHEN old.kind <> new.kind OR old.open <> new.open BEGIN
    UPDATE counter SET n = n - 1 WHERE what = 'session' AND a = old.kind AND b = CAST(old.open AS TEXT);
    INSERT INTO counter SELECT 'session', new.kind, CAST(new.open AS TEXT), 0 WHERE NOT EXISTS (
        SELECT 1 FROM counter WHERE what = 'session' AND a = new.kind AND b = CAST(new.open AS TEXT));
    UPDATE counter SET n = n + 1 WHERE what = 'session' AND a = new.kind AND b = CAST(new.open AS TEXT);
END;

CREATE TRIGGER run_added AFTER INSERT ON run BEGIN
    INSERT INTO counter SELECT 'run', new.state, ifnull(new.outcome, ''), 0 WHERE NOT EXISTS (
        SELECT 1 FROM counter WHERE what = 'run' AND a = new.state AND b = ifnull(new.outcome, ''));
    UPDATE counter SET n = n + 1 WHERE what = 'run' AND a = new.state AND b = ifnull(new.outcome, '');
END;

CREATE TRIGGER run_moved AFTER UPDATE OF state, outcome ON run
WHEN old.state <> new.state OR old.outcome IS NOT new.outcome BEGIN
    UPDATE counter SET n = n - 1
    WHERE what = 'run' AND a = old.state AND b = ifnull(old.outcome, '');
    INSERT INTO counter SELECT 'run', new.state, ifnull(new.outcome, ''), 0 WHERE NOT EXISTS (
        SELECT 1 FROM counter WHERE what = 'run' AND a = new.state AND b = ifnull(new.outcome, ''));
    UPDATE counter SET n = n + 1 WHERE what = 'run' AND a = new.state AND b = ifnull(new.outcome, '');
END;

-- More kinds of counts: delivery: hook, state; archive, archive_bytes, troubled, alert: '', ''.
INSERT INTO counter VALUES
    ('archive', '', '', 0), ('archive_bytes', '', '', 0), ('troubled', '', '', 0), ('alert', '', '', 0);

-- Nodes -------------------------------------------------------------------------------------------

ALTER TABLE node ADD COLUMN ended_at INTEGER;

UPDATE node SET ended_at = CAST(round(unixepoch(json_extract(body, '$.end.at'), 'subsec') * 1000) AS INTEGER)
WHERE ended = 1 AND json_valid(body);

CREATE INDEX node_ended ON node (ended_at, epoch) WHERE ended_at IS NOT NULL;

-- Jobs --------------------------------------------------------------------------------------------

ALTER TABLE job ADD COLUMN removed_at INTEGER;
ALTER TABLE job ADD COLUMN done_at INTEGER;
-- Its spec names a max_sessions.
ALTER TABLE job ADD COLUMN capped INTEGER NOT NULL DEFAULT 0;
ALTER TABLE job ADD COLUMN reindex INTEGER NOT NULL DEFAULT 0;
ALTER TABLE job ADD COLUMN troubled INTEGER NOT NULL DEFAULT 0;

UPDATE job SET
    removed_at = CAST(round(unixepoch(json_extract(body, '$.removed_at'), 'subsec') * 1000) AS INTEGER),
    done_at = CAST(round(unixepoch(json_extract(body, '$.done_at'), 'subsec') * 1000) AS INTEGER),
    capped = json_extract(body, '$.spec.retention.max_sessions') IS NOT NULL,
    troubled = removed = 0 AND (
        ifnull(json_extract(body, '$.suspension.by'), '') = 'auto_disable'
        OR ifnull(json_extract(body, '$.counters.failing_streak'), 0) >= 2
        OR ifnull(json_extract(body, '$.counters.replaced_streak'), 0) >= 3)
WHERE json_valid(body);

CREATE INDEX job_removed ON job (removed_at, id) WHERE removed_at IS NOT NULL;
CREATE INDEX job_done ON job (done_at, id) WHERE removed = 0 AND done_at IS NOT NULL;
CREATE INDEX job_capped ON job (id) WHERE capped = 1;
CREATE INDEX job_reindex ON job (id) WHERE reindex = 1;
CREATE INDEX job_troubled ON job (id) WHERE troubled = 1;

UPDATE counter SET n = (SELECT count(*) FROM job WHERE troubled = 1) WHERE what = 'troubled';

CREATE TRIGGER job_born_troubled AFTER INSERT ON job WHEN new.troubled = 1 BEGIN
    UPDATE counter SET n = n + 1 WHERE what = 'troubled' AND a = '' AND b = '';
END;

CREATE TRIGGER job_troubled AFTER UPDATE OF troubled ON job WHEN old.troubled <> new.troubled BEGIN
    UPDATE counter SET n = n + new.troubled - old.troubled WHERE what = 'troubled' AND a = '' AND b = '';
END;

CREATE TRIGGER job_gone_troubled AFTER DELETE ON job WHEN old.troubled = 1 BEGIN
    UPDATE counter SET n = n - 1 WHERE what = 'troubled' AND a = '' AND b = '';
END;

-- Runs --------------------------------------------------------------------------------------------

ALTER TABLE run ADD COLUMN ended_at INTEGER;

UPDATE run SET ended_at = CAST(round(unixepoch(json_extract(body, '$.state.ended.at'), 'subsec') * 1000) AS INTEGER)
WHERE state = 'ended' AND json_valid(body);

CREATE INDEX run_ended ON run (ended_at, id) WHERE ended_at IS NOT NULL;
CREATE INDEX run_active_key ON run (session_key, turn, id) WHERE state <> 'ended';

INSERT INTO job_runs SELECT job, count(*) FROM run WHERE job IS NOT NULL GROUP BY job;

CREATE TRIGGER run_added_to_job AFTER INSERT ON run WHEN new.job IS NOT NULL BEGIN
    INSERT INTO job_runs SELECT new.job, 0
    WHERE NOT EXISTS (SELECT 1 FROM job_runs WHERE job = new.job);
    UPDATE job_runs SET n = n + 1 WHERE job = new.job;
END;

CREATE TRIGGER run_moved_to_job AFTER UPDATE OF job ON run WHEN old.job IS NOT new.job BEGIN
    UPDATE job_runs SET n = n - 1 WHERE job = old.job;
    INSERT INTO job_runs SELECT new.job, 0
    WHERE new.job IS NOT NULL AND NOT EXISTS (SELECT 1 FROM job_runs WHERE job = new.job);
    UPDATE job_runs SET n = n + 1 WHERE job = new.job;
    DELETE FROM job_runs WHERE job = old.job AND n = 0;
END;

CREATE TRIGGER run_gone_from_job AFTER DELETE ON run WHEN old.job IS NOT NULL BEGIN
    UPDATE job_runs SET n = n - 1 WHERE job = old.job;
    DELETE FROM job_runs WHERE job = old.job AND n = 0;
END;

-- Sessions ----------------------------------------------------------------------------------------

ALTER TABLE session ADD COLUMN previous BLOB;
-- While it is open and not of an isolated run.
ALTER TABLE session ADD COLUMN active_at INTEGER;
-- Its end counts as a failure.
ALTER TABLE session ADD COLUMN failure INTEGER NOT NULL DEFAULT 0;
-- Until when the reaper leaves it alone: for ever while it is pinned.
ALTER TABLE session ADD COLUMN held_until INTEGER;

-- `expires_at` is from now on when the reaper looks at it: none while it is open or pinned, and the end
-- of its hold while it has one.
UPDATE session SET
    previous = (
        SELECT unhex(replace(value, '-', '')) FROM json_each(body, '$.previous') WHERE value IS NOT NULL),
    failure = ifnull(reason, '') IN ('failed', 'timed_out', 'interrupted'),
    held_until = CASE
        WHEN json_extract(body, '$.pinned') THEN 9223372036854775807
        ELSE CAST(round(unixepoch(json_extract(body, '$.hold.until'), 'subsec') * 1000) AS INTEGER) END,
    expires_at = CASE
        WHEN open = 1 OR json_extract(body, '$.pinned') THEN NULL
        WHEN json_extract(body, '$.hold') IS NOT NULL
        THEN CAST(round(unixepoch(json_extract(body, '$.hold.until'), 'subsec') * 1000) AS INTEGER)
        ELSE expires_at END
WHERE json_valid(body);

CREATE INDEX session_continued ON session (previous) WHERE open = 1 AND previous IS NOT NULL;
CREATE INDEX session_idle ON session (kind, active_at, id) WHERE open = 1 AND active_at IS NOT NULL;
CREATE INDEX session_ended ON session (job, id, held_until) WHERE open = 0 AND job IS NOT NULL;
CREATE INDEX session_failed ON session (job, id) WHERE failure = 1 AND job IS NOT NULL;

-- Events ------------------------------------------------------------------------------------------

ALTER TABLE event ADD COLUMN at INTEGER NOT NULL DEFAULT 0;

UPDATE event SET at = ifnull(CAST(round(unixepoch(json_extract(body, '$.at'), 'subsec') * 1000) AS INTEGER), 0)
WHERE json_valid(body);

CREATE INDEX event_at ON event (at, seq);

-- Deliveries --------------------------------------------------------------------------------------

-- The number of its event; none when that is gone.
ALTER TABLE delivery ADD COLUMN seq INTEGER;
ALTER TABLE delivery ADD COLUMN by_hand INTEGER NOT NULL DEFAULT 0;
-- It may go out as far as the order is concerned: the first pending one of its lane, which is those of
-- one hook and session that are not sent by hand, or pending without a lane. Kept by the triggers
-- below. A delivery's event, hook and session never change.
ALTER TABLE delivery ADD COLUMN head INTEGER NOT NULL DEFAULT 0;

UPDATE delivery SET seq = (SELECT seq FROM event WHERE event.id = delivery.event);

DROP INDEX delivery_lane;
CREATE INDEX delivery_due ON delivery (hook, at, seq) WHERE state = 'pending' AND head = 1;
CREATE INDEX delivery_oldest ON delivery (hook, seq) WHERE state = 'pending';
CREATE INDEX delivery_waiting ON delivery (session, hook, by_hand, seq)
    WHERE state = 'pending' AND session IS NOT NULL;
CREATE INDEX delivery_lane ON delivery (session, hook, seq) WHERE session IS NOT NULL;
CREATE INDEX delivery_session ON delivery (session, id) WHERE session IS NOT NULL;
CREATE INDEX delivery_hook ON delivery (hook, state, id);
CREATE INDEX delivery_over ON delivery (state, at, id) WHERE state <> 'pending';

UPDATE delivery AS this SET head = 1
WHERE state = 'pending' AND (session IS NULL OR rowid = (
    SELECT rowid FROM delivery INDEXED BY delivery_waiting
    WHERE session = this.session AND hook = this.hook AND by_hand = 0 AND seq > 0
        AND state = 'pending' AND session IS NOT NULL
    ORDER BY seq LIMIT 1));

CREATE TRIGGER delivery_added_alone AFTER INSERT ON delivery
WHEN new.state = 'pending' AND (new.session IS NULL OR new.by_hand = 1) BEGIN
    UPDATE delivery SET head = 1 WHERE rowid = new.rowid;
END;

-- In a lane, the first has the mark before and after any change: only the first two can be wrong.
CREATE TRIGGER delivery_added_to_lane AFTER INSERT ON delivery
WHEN new.state = 'pending' AND new.session IS NOT NULL AND new.by_hand = 0 BEGIN
    UPDATE delivery SET head = 0 WHERE head = 1 AND rowid = (
        SELECT rowid FROM delivery INDEXED BY delivery_waiting
        WHERE session = new.session AND hook = new.hook AND by_hand = 0 AND seq > 0
            AND state = 'pending' AND session IS NOT NULL
        ORDER BY seq LIMIT 1 OFFSET 1);
    UPDATE delivery SET head = 1 WHERE head = 0 AND rowid = (
        SELECT rowid FROM delivery INDEXED BY delivery_waiting
        WHERE session = new.session AND hook = new.hook AND by_hand = 0 AND seq > 0
            AND state = 'pending' AND session IS NOT NULL
        ORDER BY seq LIMIT 1);
END;

CREATE TRIGGER delivery_moved AFTER UPDATE OF state, by_hand ON delivery
WHEN old.state <> new.state OR old.by_hand <> new.by_hand BEGIN
    UPDATE delivery SET head = (new.state = 'pending' AND (new.session IS NULL OR new.by_hand = 1))
    WHERE rowid = new.rowid;
    UPDATE delivery SET head = 0 WHERE head = 1 AND rowid = (
        SELECT rowid FROM delivery INDEXED BY delivery_waiting
        WHERE session = new.session AND hook = new.hook AND by_hand = 0 AND seq > 0
            AND state = 'pending' AND session IS NOT NULL
        ORDER BY seq LIMIT 1 OFFSET 1);
    UPDATE delivery SET head = 1 WHERE head = 0 AND rowid = (
        SELECT rowid FROM delivery INDEXED BY delivery_waiting
        WHERE session = new.session AND hook = new.hook AND by_hand = 0 AND seq > 0
            AND state = 'pending' AND session IS NOT NULL
        ORDER BY seq LIMIT 1);
END;

CREATE TRIGGER delivery_gone_from_lane AFTER DELETE ON delivery
WHEN old.head = 1 AND old.session IS NOT NULL BEGIN
    UPDATE delivery SET head = 1 WHERE head = 0 AND rowid = (
        SELECT rowid FROM delivery INDEXED BY delivery_waiting
        WHERE session = old.session AND hook = old.hook AND by_hand = 0 AND seq > 0
            AND state = 'pending' AND session IS NOT NULL
        ORDER BY seq LIMIT 1);
END;

INSERT INTO counter SELECT 'delivery', hook, state, count(*) FROM delivery GROUP BY hook, state;

CREATE TRIGGER delivery_added AFTER INSERT ON delivery BEGIN
    INSERT INTO counter SELECT 'delivery', new.hook, new.state, 0 WHERE NOT EXISTS (
        SELECT 1 FROM counter WHERE what = 'delivery' AND a = new.hook AND b = new.state);
    UPDATE counter SET n = n + 1 WHERE what = 'delivery' AND a = new.hook AND b = new.state;
END;

CREATE TRIGGER delivery_settled AFTER UPDATE OF state ON delivery WHEN old.state <> new.state BEGIN
    UPDATE counter SET n = n - 1 WHERE what = 'delivery' AND a = old.hook AND b = old.state;
    INSERT INTO counter SELECT 'delivery', new.hook, new.state, 0 WHERE NOT EXISTS (
        SELECT 1 FROM counter WHERE what = 'delivery' AND a = new.hook AND b = new.state);
    UPDATE counter SET n = n + 1 WHERE what = 'delivery' AND a = new.hook AND b = new.state;
END;

CREATE TRIGGER delivery_gone AFTER DELETE ON delivery BEGIN
    UPDATE counter SET n = n - 1 WHERE what = 'delivery' AND a = old.hook AND b = old.state;
END;

-- Archives ----------------------------------------------------------------------------------------

-- Its first byte in the segment.
ALTER TABLE archive ADD COLUMN start INTEGER NOT NULL DEFAULT 0;
ALTER TABLE archive ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE archive ADD COLUMN deleted_at INTEGER;

UPDATE archive SET
    start = ifnull(json_extract(body, '$.offset'), 0),
    bytes = ifnull(json_extract(body, '$.length'), 0),
    deleted_at = CAST(round(unixepoch(json_extract(body, '$.deleted_at'), 'subsec') * 1000) AS INTEGER)
WHERE json_valid(body);

CREATE INDEX archive_segment ON archive (segment, start, session);
CREATE INDEX archive_deleted ON archive (deleted_at, session) WHERE deleted_at IS NOT NULL;

UPDATE counter SET n = (SELECT count(*) FROM archive WHERE deleted_at IS NULL) WHERE what = 'archive';
UPDATE counter SET n = (SELECT ifnull(sum(bytes), 0) FROM archive WHERE deleted_at IS NULL)
WHERE what = 'archive_bytes';

CREATE TRIGGER archive_added AFTER INSERT ON archive WHEN new.deleted_at IS NULL BEGIN
    UPDATE counter SET n = n + 1 WHERE what = 'archive' AND a = '' AND b = '';
    UPDATE counter SET n = n + new.bytes WHERE what = 'archive_bytes' AND a = '' AND b = '';
END;

CREATE TRIGGER archive_moved AFTER UPDATE OF bytes, deleted_at ON archive
WHEN old.bytes <> new.bytes OR old.deleted_at IS NOT new.deleted_at BEGIN
    UPDATE counter SET n = n + (new.deleted_at IS NULL) - (old.deleted_at IS NULL)
    WHERE what = 'archive' AND a = '' AND b = '';
    UPDATE counter SET n = n + iif(new.deleted_at IS NULL, new.bytes, 0)
        - iif(old.deleted_at IS NULL, old.bytes, 0)
    WHERE what = 'archive_bytes' AND a = '' AND b = '';
END;

CREATE TRIGGER archive_gone AFTER DELETE ON archive WHEN old.deleted_at IS NULL BEGIN
    UPDATE counter SET n = n - 1 WHERE what = 'archive' AND a = '' AND b = '';
    UPDATE counter SET n = n - old.bytes WHERE what = 'archive_bytes' AND a = '' AND b = '';
END;

-- Alerts ------------------------------------------------------------------------------------------

CREATE TRIGGER alert_added AFTER INSERT ON alert WHEN new.cleared_at IS NULL BEGIN
    UPDATE counter SET n = n + 1 WHERE what = 'alert' AND a = '' AND b = '';
END;

CREATE TRIGGER alert_moved AFTER UPDATE OF cleared_at ON alert
WHEN old.cleared_at IS NOT new.cleared_at BEGIN
    UPDATE counter SET n = n + (new.cleared_at IS NULL) - (old.cleared_at IS NULL)
    WHERE what = 'alert' AND a = '' AND b = '';
END;

CREATE TRIGGER alert_gone AFTER DELETE ON alert WHEN old.cleared_at IS NULL BEGIN
    UPDATE counter SET n = n - 1 WHERE what = 'alert' AND a = '' AND b = '';
END;

-- Usage and remembered answers --------------------------------------------------------------------

CREATE INDEX usage_at ON usage (at, id);
CREATE INDEX idempotency_at ON idempotency (at);
