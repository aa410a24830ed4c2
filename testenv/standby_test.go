package testenv

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestStandbyFollows(t *testing.T) {
	t.Parallel()
	standbyFollows(t, Start(t, Config{}))
}

// standbyFollows makes a standby of c, stops it, and sees it catch up.
func standbyFollows(t *testing.T, c *Cluster) {
	t.Helper()
	ctx := t.Context()
	s := c.StartStandby(t, Config{})
	var feedback string
	if err := s.Connect(t, "postgres").QueryRow(ctx, "SELECT current_setting('hot_standby_feedback')").Scan(&feedback); err != nil || feedback != "on" {
		t.Fatalf("hot_standby_feedback %s, %v", feedback, err)
	}
	db := c.Database(t)
	c.Exec(t, db, "CREATE TABLE t (a int)")
	for i := range 2 {
		c.Exec(t, db, "INSERT INTO t VALUES (1)")
		waitForStandby(t, s, db, i+1)
		if err := s.Restart(ctx, "immediate"); err != nil {
			t.Fatal(err)
		}
	}
}

func waitForStandby(t *testing.T, s *Cluster, db string, want int) {
	t.Helper()
	var err error
	defer func() {
		if t.Failed() {
			t.Logf("the last look: %v", err)
		}
	}()
	Eventually(t, fmt.Sprintf("the standby has %d rows", want), func() bool {
		var n int
		var recovering bool
		err = s.inSession(t.Context(), db, func(conn *pgx.Conn) error {
			return conn.QueryRow(t.Context(), "SELECT count(*), pg_is_in_recovery() FROM t").Scan(&n, &recovering)
		})
		return err == nil && n == want && recovering
	})
}
