package catalog

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pgsyncd/testenv"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(holdEnv); dir != "" {
		hold(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// dataDir makes a directory that another OS user can be let into, which t.TempDir forbids by its parent.
func dataDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "catalog-test-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil { // the user of the servers passes through
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return filepath.Join(dir, "d")
}

func silent() *slog.Logger { return textLogger(io.Discard) }

func textLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

// open opens a catalog that is closed when the test ends.
func open(t *testing.T, cfg Config) *Catalog {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = silent()
	}
	c, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shut(t, c) })
	return c
}

func shut(t *testing.T, c *Catalog) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	if err := c.Close(ctx); err != nil {
		t.Error(err)
	}
}

// setup opens a catalog in a database of its own on the shared server, as with the flag --catalog.
func setup(t *testing.T) *Catalog {
	t.Helper()
	server := testenv.Shared(t)
	return open(t, Config{DataDir: dataDir(t), ConnInfo: server.ConnString(server.Database(t)), AdminPassword: "admin's own"})
}
