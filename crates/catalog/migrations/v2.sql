-- The rows of `beehives` are brought over by legacy_rows.rs, in the same transaction; then that table goes.

-- What an operator writes and what is rarely changed. Times of heartbeats have a narrow table of their own: a flush
-- of 100,000 of them writes two megabytes, not fifty.
CREATE TABLE hives (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    host TEXT,
    port INTEGER NOT NULL DEFAULT 7835,
    ssh_host TEXT,
    ssh_port INTEGER,
    ssh_user TEXT,
    ssh_key_path TEXT,
    git_repo_url TEXT,
    git_branch TEXT,
    install_path TEXT,
    binary_path TEXT,
    status TEXT NOT NULL DEFAULT 'unknown' CHECK (status IN ('unknown', 'online', 'offline', 'error')),
    status_reason TEXT,
    last_connected_unix INTEGER,
    backends TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(backends)),
    devices TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(devices)),
    labels TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(labels)),
    adopted INTEGER NOT NULL DEFAULT 0 CHECK (adopted IN (0, 1)),
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX hives_by_status ON hives (status, id);
CREATE INDEX hives_adopted ON hives (adopted) WHERE adopted = 1;

CREATE TABLE heartbeats (
    hive INTEGER PRIMARY KEY REFERENCES hives (key) ON DELETE CASCADE,
    ms INTEGER NOT NULL
) STRICT;

-- The last 100 of each hive.
CREATE TABLE transitions (
    hive INTEGER NOT NULL REFERENCES hives (key) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    was TEXT NOT NULL,
    became TEXT NOT NULL,
    reason TEXT,
    who TEXT NOT NULL,
    PRIMARY KEY (hive, number)
) STRICT, WITHOUT ROWID;

-- Of the hive itself where `worker` is empty.
CREATE TABLE cordons (
    hive INTEGER NOT NULL REFERENCES hives (key) ON DELETE CASCADE,
    worker TEXT NOT NULL,
    why TEXT NOT NULL,
    since_ms INTEGER NOT NULL,
    PRIMARY KEY (hive, worker)
) STRICT, WITHOUT ROWID;

-- Whose heartbeats are refused for a day. No reference: the hive is gone.
CREATE TABLE removals (
    id TEXT PRIMARY KEY,
    at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX removals_by_time ON removals (at_ms);

CREATE TABLE secrets (
    hive INTEGER NOT NULL REFERENCES hives (key) ON DELETE CASCADE,
    name TEXT NOT NULL,
    key_id TEXT NOT NULL,
    nonce BLOB NOT NULL CHECK (length(nonce) = 24),
    sealed BLOB NOT NULL,
    set_at_ms INTEGER NOT NULL,
    PRIMARY KEY (hive, name)
) STRICT, WITHOUT ROWID;

-- Each row's hash is of the one before it and of everything in the row. Digests are of the hive's record, never of a
-- secret.
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    who TEXT NOT NULL,
    what TEXT NOT NULL,
    hive TEXT,
    detail TEXT,
    before BLOB,
    after BLOB,
    hash BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'audit rows are not changed');
END;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
BEGIN
    SELECT RAISE(ABORT, 'audit rows are not deleted');
END;
-- `INSERT OR REPLACE` would pass by the others.
CREATE TRIGGER audit_only_append BEFORE INSERT ON audit
WHEN NEW.seq <= (SELECT ifnull(max(seq), 0) FROM audit)
BEGIN
    SELECT RAISE(ABORT, 'audit rows are appended only');
END;

-- What an older database held that fits no column: nothing is lost, nothing is used.
CREATE TABLE leftovers (
    number INTEGER PRIMARY KEY,
    hive TEXT,
    field TEXT NOT NULL,
    value ANY,
    why TEXT NOT NULL
) STRICT;
