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
