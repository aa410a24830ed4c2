package testenv

import (
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestClusterSurvivesStopsAndKills(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c := Start(t, Config{})
	db := c.Database(t)
	c.Exec(t, db, "CREATE TABLE t (a int); INSERT INTO t VALUES (1)")
	port := c.Port()
	steps := []struct {
		name string
		down func() error
	}{
		{"fast", func() error { return c.Stop("fast") }},
		{"immediate", func() error { return c.Stop("immediate") }},
		{"kill", c.Kill},
	}
	for i, step := range steps {
		if err := step.down(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if pid := c.PID(); pid != 0 {
			t.Fatalf("%s: still runs as %d", step.name, pid)
		}
		if _, err := pgx.Connect(ctx, c.ConnString(db)); err == nil {
			t.Fatalf("%s: still accepts connections", step.name)
		}
		if err := c.StartAgain(ctx); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		var n int
		if err := c.Connect(t, db).QueryRow(ctx, "SELECT count(*) FROM t").Scan(&n); err != nil || n != i+1 {
			t.Fatalf("%s: %d rows, %v", step.name, n, err)
		}
		c.Exec(t, db, "INSERT INTO t VALUES (2)")
	}
	if c.Port() != port {
		t.Errorf("port changed from %d to %d", port, c.Port())
	}
}

func TestClustersDiffer(t *testing.T) {
	t.Parallel()
	a, b := SharedPair(t)
	var ids [2]int64
	for i, c := range []*Cluster{a, b} {
		conn := c.Connect(t, "postgres")
		if err := conn.QueryRow(t.Context(), "SELECT system_identifier FROM pg_control_system()").Scan(&ids[i]); err != nil {
			t.Fatal(err)
		}
	}
	if ids[0] == ids[1] {
		t.Errorf("both clusters have the system identifier %d", ids[0])
	}
}
