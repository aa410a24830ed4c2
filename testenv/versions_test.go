//go:build versions

package testenv

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestVersions runs what differs between server versions on each of them. It is behind a build tag because it fetches
// servers from package registries.
func TestVersions(t *testing.T) {
	t.Parallel()
	reference := Start(t, Config{})
	for _, version := range []string{"9.5", "9.6", "10", "11", "12", "13", "14", "15", "16", "17", "18"} {
		t.Run(version, func(t *testing.T) {
			ctx := t.Context()
			c := Start(t, Config{Version: version, TLS: true, Settings: map[string]string{"log_statement": "ddl"}})
			var num int
			if err := c.Connect(t, "postgres").QueryRow(ctx, "SELECT current_setting('server_version_num')::int").Scan(&num); err != nil {
				t.Fatal(err)
			}
			if num/100 != c.VersionNum()/100 && num/10000 != c.VersionNum()/10000 {
				t.Errorf("server %d runs for version %s", num, version)
			}
			if err := c.Kill(); err != nil {
				t.Fatal(err)
			}
			if err := c.StartAgain(ctx); err != nil {
				t.Fatal(err)
			}
			if err := c.Set(ctx, map[string]string{"work_mem": "5MB"}, false); err != nil {
				t.Fatal(err)
			}
			logicalAndContrib(t, c)
			diffFromReference(t, c, reference)
			standbyFollows(t, c)
			dumpReads(t, c)
		})
	}
}

// logicalAndContrib makes a slot, which Database must be able to clean up, and an extension.
func logicalAndContrib(t *testing.T, c *Cluster) {
	t.Helper()
	db := c.Database(t)
	c.Exec(t, db, "CREATE EXTENSION hstore; CREATE EXTENSION citext; CREATE EXTENSION btree_gist")
	c.Exec(t, db, "SELECT pg_create_logical_replication_slot('s', 'test_decoding')")
	c.Exec(t, db, "CREATE TABLE t (a int)")
	c.Exec(t, db, "BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'p'")
	if c.VersionNum() >= 100000 {
		c.Exec(t, db, "CREATE SUBSCRIPTION s CONNECTION 'dbname=x' PUBLICATION p WITH (connect = false)")
	}
}

func diffFromReference(t *testing.T, c, reference *Cluster) {
	t.Helper()
	const tables = `CREATE TABLE t (id int PRIMARY KEY, f4 real, f8 float8, fs float8[], p point, m money, b bytea);
		INSERT INTO t SELECT i, i / 3.0, i / 7.0, ARRAY[i / 3.0], point(i / 3.0, 1), i, 'x' FROM generate_series(1, 100) i;
		INSERT INTO t VALUES (0, 'NaN', 'NaN', '{-0}', NULL, NULL, NULL); CREATE SEQUENCE s; SELECT nextval('s')`
	a, b := c.Database(t), reference.Database(t)
	c.Exec(t, a, tables)
	reference.Exec(t, b, tables)
	ca, cb := c.Connect(t, a), reference.Connect(t, b)
	MustEqual(t, ca, cb)
	reference.Exec(t, b, "UPDATE t SET f8 = f8 + 1e-16 WHERE id = 1")
	if got, err := Diff(t.Context(), ca, cb, nil); err != nil || len(got) != 2 {
		t.Errorf("last bit of a float: %v, %v", got, err)
	}
	if got, err := DiffSequences(t.Context(), ca, cb, 0); err != nil || len(got) != 0 {
		t.Errorf("sequences: %v, %v", got, err)
	}
}

func dumpReads(t *testing.T, c *Cluster) {
	t.Helper()
	bin, err := ClientBin(t.Context(), clientVersion(c.VersionNum()))
	if err != nil {
		t.Fatal(err)
	}
	out, err := run(t.Context(), "/", filepath.Join(bin, "pg_dump"), "--schema-only", "-d", c.SocketString("postgres"))
	if err != nil || !strings.Contains(out, "PostgreSQL database dump complete") {
		t.Errorf("pg_dump: %v", err)
	}
}

// TestVersionsLeaveNothing kills a server of each family and destroys it without a restart.
func TestVersionsLeaveNothing(t *testing.T) {
	for _, version := range []string{"9.5", "9.6", "15", "18"} {
		c, err := New(t.Context(), Config{Version: version})
		if err != nil {
			t.Fatal(err)
		}
		before := sharedMemory(t)
		if err := c.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := c.Destroy(); err != nil {
			t.Fatal(err)
		}
		if after := sharedMemory(t); after >= before {
			t.Errorf("%s: %d System V objects with the server, %d without", version, before, after)
		}
		if _, err := os.Stat(c.DataDir()); !errors.Is(err, fs.ErrNotExist) {
			t.Error(fmt.Errorf("%s: data directory: %w", version, err))
		}
	}
}

func sharedMemory(t *testing.T) int {
	t.Helper()
	n := 0
	for _, kind := range []string{"shm", "sem"} {
		content, err := os.ReadFile("/proc/sysvipc/" + kind)
		if err != nil {
			t.Fatal(err)
		}
		n += strings.Count(string(content), "\n")
	}
	return n
}
