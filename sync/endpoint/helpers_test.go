package endpoint_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// simple asks for one value by the simple protocol, the only one of a walsender.
type simple struct{ conn *pgconn.PgConn }

func (s simple) query(t *testing.T, ctx context.Context, sql string) string {
	t.Helper()
	results, err := s.conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return string(results[0].Rows[0][0])
}

// closeAtEnd closes a session when the test ends.
func closeAtEnd(t *testing.T, conn interface{ Close(context.Context) error }) {
	t.Helper()
	t.Cleanup(func() {
		if err := conn.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// ends closes what needs no context.
func ends(t *testing.T, c interface{ Close() error }) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
