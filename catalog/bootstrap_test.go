package catalog

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgsyncd/testenv"

	"golang.org/x/sync/errgroup"
)

// Daemons that share a catalog share the key, may start at the same time, and see each other's tasks.
func TestSharedCatalog(t *testing.T) {
	t.Parallel()
	server := testenv.Shared(t)
	conninfo := server.ConnString(server.Database(t))
	keyFile := filepath.Join(t.TempDir(), "shared.key")
	if _, err := loadKey(keyFile); err != nil {
		t.Fatal(err)
	}
	daemons := make([]*Catalog, 4)
	group, ctx := errgroup.WithContext(t.Context())
	for i := range daemons {
		dir := dataDir(t)
		group.Go(func() (err error) {
			daemons[i], err = Open(ctx, Config{DataDir: dir, ConnInfo: conninfo, SecretKeyFile: keyFile, Logger: silent()})
			return err
		})
	}
	err := group.Wait()
	for _, c := range daemons {
		if c != nil {
			t.Cleanup(func() { shut(t, c) })
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	create(t, daemons[0], sample("shop"))
	for _, c := range daemons {
		if task, err := c.Task(t.Context(), "shop"); err != nil || task.Source.Reveal() != "host=a password=s3cret" {
			t.Errorf("%v", err)
		}
		if got := value(t, session(t, c, "monitor", nil), "SELECT task FROM sync_tasks"); got != "shop" {
			t.Errorf("a session sees %s", got)
		}
	}
	admin, err := daemons[0].User(t.Context(), "admin")
	if err != nil || admin.Verifier != "" {
		t.Errorf("admin without password: %+v, %v", admin, err)
	}
	foreign := filepath.Join(t.TempDir(), "secret.key")
	if _, err := loadKey(foreign); err != nil {
		t.Fatal(err)
	}
	_, err = Open(t.Context(), Config{DataDir: dataDir(t), ConnInfo: conninfo, SecretKeyFile: foreign, Logger: silent()})
	if err == nil || !strings.Contains(err.Error(), "secret key is not the one") {
		t.Errorf("another key: %v", err)
	}
}

// A key that is lost is not replaced by one that opens nothing.
func TestMissingKeyIsNotMadeAnew(t *testing.T) {
	t.Parallel()
	server := testenv.Shared(t)
	cfg := Config{DataDir: dataDir(t), ConnInfo: server.ConnString(server.Database(t)), Logger: silent()}
	c, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	create(t, c, sample("shop"))
	shut(t, c)
	name, aside := filepath.Join(cfg.DataDir, "secret.key"), filepath.Join(cfg.DataDir, "aside")
	if err := os.Rename(name, aside); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), name+" is missing") {
		t.Errorf("without the key: %v", err)
	}
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a key was made: %v", err)
	}
	if err := os.Rename(aside, name); err != nil {
		t.Fatal(err)
	}
	if task, err := open(t, cfg).Task(t.Context(), "shop"); err != nil || task.Source == "" {
		t.Errorf("with the key back: %v", err)
	}
}

func TestNewerCatalogIsRefused(t *testing.T) {
	t.Parallel()
	server := testenv.Shared(t)
	cfg := Config{DataDir: dataDir(t), ConnInfo: server.ConnString(server.Database(t)), Logger: silent()}
	c, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.pool.Exec(t.Context(), "UPDATE pgsyncd.schema_version SET version = 99"); err != nil {
		t.Fatal(err)
	}
	shut(t, c)
	if _, err := Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "made by a newer pgsyncd (schema 99") {
		t.Errorf("got %v", err)
	}
}

// A role that somebody has made powerful is not handed to clients.
func TestPowerfulRoleIsRefused(t *testing.T) {
	t.Parallel()
	server := testenv.Shared(t)
	cfg := Config{DataDir: dataDir(t), ConnInfo: server.ConnString(server.Database(t)), Logger: silent()}
	c, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	role := c.roles.operator
	shut(t, c)
	for grant, revoke := range map[string]string{
		"ALTER ROLE " + role + " CREATEDB":      "ALTER ROLE " + role + " NOCREATEDB",
		"GRANT pg_read_all_data TO " + role:     "REVOKE pg_read_all_data FROM " + role,
		"GRANT pg_read_server_files TO " + role: "REVOKE pg_read_server_files FROM " + role,
	} {
		server.Exec(t, "postgres", grant)
		if _, err := Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), role) {
			t.Errorf("%s: %v", grant, err)
		}
		server.Exec(t, "postgres", revoke)
	}
	open(t, cfg)
}

// Without superuser the catalog works; what only a superuser could take away is reported with the statement.
func TestCatalogOfPlainOwner(t *testing.T) {
	t.Parallel()
	server := testenv.Shared(t)
	database := server.Database(t)
	owner := "owner_of_" + database
	server.Exec(t, "postgres", "CREATE ROLE "+owner+" LOGIN CREATEROLE PASSWORD 'x'")
	server.Exec(t, "postgres", "ALTER DATABASE "+database+" OWNER TO "+owner)
	var log strings.Builder
	conninfo := server.ConnString(database) + " user=" + owner + " password=x"
	c := open(t, Config{DataDir: dataDir(t), ConnInfo: conninfo, Logger: textLogger(&log)})
	if !strings.Contains(log.String(), "REVOKE EXECUTE ON FUNCTION") || !strings.Contains(log.String(), "TO \\\""+owner+"\\\"") {
		t.Errorf("log: %s", log.String())
	}
	task := create(t, c, sample("shop"))
	fire(t, c, task.ID, EventStart, Change{})
	conn := session(t, c, "monitor", nil)
	for sql, want := range map[string]string{
		"SELECT task FROM sync_tasks": "shop", "TABLE pgsyncd.task": "error 42501", "CREATE TEMP TABLE t ()": "error 42501",
		"LISTEN sync_events": "LISTEN",
	} {
		if got := value(t, conn, sql); got != want {
			t.Errorf("%s: %s", sql, got)
		}
	}
}
