-- Version 1 of the schema. Never edited once released: a change is a new file.
--
-- A record is its `body` (JSON). Every other column is an index into it, written from the same value
-- by the same function. Ids are UUIDv7 as 16 bytes, times milliseconds since 1970, words as in JSON.

-- store_id, generation, software (the version that wrote the schema).
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Counts that would cost more with every row, kept by the triggers below.
--   session: kind, open        run: state, outcome ('' before the end)
--   job, event: '', ''         last_turn: '', '' (a maximum, not a count)
CREATE TABLE counter (
    what TEXT NOT NULL,
    a TEXT NOT NULL,
    b TEXT NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (what, a, b)
) STRICT, WITHOUT ROWID;

INSERT INTO counter VALUES ('job', '', '', 0), ('event', '', '', 0), ('last_turn', '', '', 0);

CREATE TABLE node (
    epoch INTEGER PRIMARY KEY,
    ended INTEGER NOT NULL,
    version INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE INDEX node_living ON node (epoch) WHERE ended = 0;

CREATE TABLE job (
    id BLOB NOT NULL PRIMARY KEY,
    key TEXT NOT NULL,
    source TEXT NOT NULL,
    agent TEXT NOT NULL,
    removed INTEGER NOT NULL,
    due_at INTEGER,
    version INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX job_key ON job (key) WHERE removed = 0;
CREATE INDEX job_kept ON job (id) WHERE removed = 0;
CREATE INDEX job_source ON job (source, id, removed);
CREATE INDEX job_agent ON job (agent, id, removed);
CREATE INDEX job_due ON job (due_at, id) WHERE due_at IS NOT NULL;

CREATE TABLE run (
    id BLOB NOT NULL PRIMARY KEY,
    job BLOB,
    slot INTEGER,
    attempt INTEGER NOT NULL,
    agent TEXT NOT NULL,
    session_key TEXT NOT NULL,
    state TEXT NOT NULL,
    outcome TEXT,
    turn INTEGER NOT NULL,
    rests_until INTEGER,
    epoch INTEGER,
    started_at INTEGER,
    version INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX run_slot ON run (job, slot, attempt) WHERE slot IS NOT NULL;
CREATE UNIQUE INDEX run_running_key ON run (session_key) WHERE state = 'running';
CREATE INDEX run_job ON run (job, id) WHERE job IS NOT NULL;
CREATE INDEX run_agent ON run (agent, id);
CREATE INDEX run_outcome ON run (outcome, id) WHERE outcome IS NOT NULL;
CREATE INDEX run_active_state ON run (state, id) WHERE state <> 'ended';
CREATE INDEX run_active_job ON run (job, id, state) WHERE job IS NOT NULL AND state <> 'ended';
CREATE INDEX run_queue ON run (agent, turn, id) WHERE state = 'queued';
CREATE INDEX run_rest ON run (rests_until, id) WHERE state = 'waiting';
CREATE INDEX run_owner ON run (epoch, id) WHERE state = 'running';

CREATE TABLE session (
    id BLOB NOT NULL PRIMARY KEY,
    key TEXT NOT NULL,
    kind TEXT NOT NULL,
    agent TEXT NOT NULL,
    job BLOB,
    epoch INTEGER NOT NULL,
    open INTEGER NOT NULL,
    reason TEXT,
    expires_at INTEGER,
    -- Not in the body: moved by appends alone.
    entry_count INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    version INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX session_open_key ON session (key) WHERE open = 1;
CREATE INDEX session_open ON session (id, kind, agent, job, key) WHERE open = 1;
CREATE INDEX session_owner ON session (epoch, id) WHERE open = 1;
CREATE INDEX session_key ON session (key, id);
CREATE INDEX session_kind ON session (kind, id, open);
CREATE INDEX session_agent ON session (agent, kind, id, open);
CREATE INDEX session_job ON session (job, id) WHERE job IS NOT NULL;
CREATE INDEX session_reason ON session (reason, id) WHERE reason IS NOT NULL;
CREATE INDEX session_expires ON session (expires_at, id) WHERE open = 0 AND expires_at IS NOT NULL;

-- Append-first: new entries of all sessions share the last pages of the table, so that a commit of
-- many sessions writes few pages.
CREATE TABLE entry (
    id INTEGER PRIMARY KEY,
    session BLOB NOT NULL,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    role TEXT NOT NULL,
    content TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX entry_seq ON entry (session, seq);

-- AUTOINCREMENT: the number of a deleted event is never given to another.
CREATE TABLE event (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE hook (
    name TEXT NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE delivery (
    id BLOB NOT NULL PRIMARY KEY,
    event BLOB NOT NULL,
    hook TEXT NOT NULL,
    session BLOB,
    state TEXT NOT NULL,
    -- When it is tried next while pending, else when it became what it is.
    at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX delivery_event ON delivery (event, hook);
CREATE INDEX delivery_lane ON delivery (hook, session, id, at) WHERE state = 'pending';

CREATE TABLE usage (
    id BLOB NOT NULL PRIMARY KEY,
    at INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE usage_day (
    -- Days since 1970.
    day INTEGER NOT NULL,
    -- Empty without a job: in a key, NULL would be different from itself.
    job BLOB NOT NULL,
    agent TEXT NOT NULL,
    model TEXT NOT NULL,
    reports INTEGER NOT NULL,
    input INTEGER NOT NULL,
    output INTEGER NOT NULL,
    cached INTEGER NOT NULL,
    cost_micro_usd INTEGER NOT NULL,
    PRIMARY KEY (day, job, agent, model)
) STRICT, WITHOUT ROWID;

CREATE TABLE archive (
    session BLOB NOT NULL PRIMARY KEY,
    segment TEXT NOT NULL,
    delete_after INTEGER,
    version INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE idempotency (
    -- Empty for the local admin token.
    token BLOB NOT NULL,
    route TEXT NOT NULL,
    key TEXT NOT NULL,
    at INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (token, route, key)
) STRICT;

CREATE TABLE token (
    id BLOB NOT NULL PRIMARY KEY,
    hash TEXT NOT NULL UNIQUE,
    version INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE TRIGGER session_added AFTER INSERT ON session BEGIN
    INSERT INTO counter VALUES ('session', new.kind, CAST(new.open AS TEXT), 1)
    ON CONFLICT DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER session_moved AFTER UPDATE OF kind, open ON session
WHEN old.kind <> new.kind OR old.open <> new.open BEGIN
    UPDATE counter SET n = n - 1 WHERE what = 'session' AND a = old.kind AND b = CAST(old.open AS TEXT);
    INSERT INTO counter VALUES ('session', new.kind, CAST(new.open AS TEXT), 1)
    ON CONFLICT DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER session_gone AFTER DELETE ON session BEGIN
    UPDATE counter SET n = n - 1 WHERE what = 'session' AND a = old.kind AND b = CAST(old.open AS TEXT);
END;

CREATE TRIGGER run_added AFTER INSERT ON run BEGIN
    INSERT INTO counter VALUES ('run', new.state, ifnull(new.outcome, ''), 1)
    ON CONFLICT DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER run_moved AFTER UPDATE OF state, outcome ON run
WHEN old.state <> new.state OR old.outcome IS NOT new.outcome BEGIN
    UPDATE counter SET n = n - 1
    WHERE what = 'run' AND a = old.state AND b = ifnull(old.outcome, '');
    INSERT INTO counter VALUES ('run', new.state, ifnull(new.outcome, ''), 1)
    ON CONFLICT DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER run_gone AFTER DELETE ON run BEGIN
    UPDATE counter SET n = n - 1
    WHERE what = 'run' AND a = old.state AND b = ifnull(old.outcome, '');
END;

CREATE TRIGGER run_born_started AFTER INSERT ON run WHEN new.started_at IS NOT NULL BEGIN
    UPDATE counter SET n = max(n, new.turn) WHERE what = 'last_turn' AND a = '' AND b = '';
END;

CREATE TRIGGER run_started AFTER UPDATE OF started_at ON run
WHEN new.started_at IS NOT NULL BEGIN
    UPDATE counter SET n = max(n, new.turn) WHERE what = 'last_turn' AND a = '' AND b = '';
END;

CREATE TRIGGER job_added AFTER INSERT ON job WHEN new.removed = 0 BEGIN
    UPDATE counter SET n = n + 1 WHERE what = 'job' AND a = '' AND b = '';
END;

CREATE TRIGGER job_moved AFTER UPDATE OF removed ON job WHEN old.removed <> new.removed BEGIN
    UPDATE counter SET n = n + old.removed - new.removed WHERE what = 'job' AND a = '' AND b = '';
END;

CREATE TRIGGER job_gone AFTER DELETE ON job WHEN old.removed = 0 BEGIN
    UPDATE counter SET n = n - 1 WHERE what = 'job' AND a = '' AND b = '';
END;

CREATE TRIGGER event_added AFTER INSERT ON event BEGIN
    UPDATE counter SET n = n + 1 WHERE what = 'event' AND a = '' AND b = '';
END;

CREATE TRIGGER event_gone AFTER DELETE ON event BEGIN
    UPDATE counter SET n = n - 1 WHERE what = 'event' AND a = '' AND b = '';
END;
