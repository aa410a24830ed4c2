package server

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/lib/pq"
)

// wantCode fails unless err is a server's error of that SQLSTATE.
func wantCode(tb testing.TB, err error, code string) {
	tb.Helper()
	_ = pgError(tb, err, code)
}

// pgError is wantCode for those who want to see more of the error.
func pgError(tb testing.TB, err error, code string) *pgconn.PgError {
	tb.Helper()
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || pg.Code != code {
		tb.Fatalf("error is %v, want SQLSTATE %s", err, code)
	}
	return pg
}

func TestPgxModes(t *testing.T) {
	t.Parallel()
	h := setup(t)
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec,
		pgx.QueryExecModeSimpleProtocol,
	} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			var notices []string
			conn := h.connect(t, func(c *pgx.ConnConfig) {
				c.DefaultQueryExecMode = mode
				c.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { notices = append(notices, n.Message) }
			})
			for range 3 { // prepared once, executed again
				tag, err := conn.Exec(ctx, "START SYNC TASK noisy")
				if err != nil || tag.String() != "START SYNC TASK" {
					t.Fatalf("got %q, %v", tag, err)
				}
				rows, err := conn.Query(ctx, "SHOW SYNC TASKS")
				if err != nil {
					t.Fatal(err)
				}
				type task struct {
					Number int
					Task   string
				}
				got, err := pgx.CollectRows(rows, pgx.RowToStructByPos[task])
				want := []task{{1, "task 1"}, {2, "task 2"}, {3, "task 3"}, {4, "task 4"}, {5, "task 5"}}
				if diff := cmp.Diff(want, got); err != nil || diff != "" {
					t.Fatalf("%v (-want +got):\n%s", err, diff)
				}
				var n int
				if err := conn.QueryRow(ctx, "SELECT n FROM numbers WHERE n = $1", 17).Scan(&n); err != nil || n != 17 {
					t.Fatalf("got %d, %v", n, err)
				}
			}
			if len(notices) != 9 || notices[8] != "notice 2" {
				t.Errorf("notices: %q", notices)
			}
			_, err := conn.Exec(ctx, "START SYNC TASK missing")
			if pg := pgError(t, err, "42704"); pg.Detail != "There is none." || pg.Hint != "Create it." || pg.SeverityUnlocalized != "ERROR" {
				t.Errorf("error: %+v", pg)
			}
			tx, err := conn.Begin(ctx)
			if err != nil {
				t.Fatal(err)
			}
			_, err = tx.Exec(ctx, "START SYNC TASK a")
			wantCode(t, err, "25001")
			_, err = tx.Exec(ctx, "SHOW SYNC TASKS")
			wantCode(t, err, "25P02")
			if err := tx.Rollback(ctx); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Exec(ctx, "START SYNC TASK a"); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestPgxBatchAndPipeline(t *testing.T) {
	t.Parallel()
	h := setup(t)
	ctx := t.Context()
	conn := h.connect(t)
	batch := &pgx.Batch{}
	for i := range 50 {
		batch.Queue("SELECT $1::int", i)
		batch.Queue(fmt.Sprintf("START SYNC TASK t%d", i))
	}
	results := conn.SendBatch(ctx, batch)
	for i := range 50 {
		var n int
		if err := results.QueryRow().Scan(&n); err != nil || n != i {
			t.Fatalf("query %d: %d, %v", i, n, err)
		}
		if tag, err := results.Exec(); err != nil || tag.String() != "START SYNC TASK" {
			t.Fatalf("statement %d: %s, %v", i, tag, err)
		}
	}
	if err := results.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(h.control.statements()); n != 50 {
		t.Errorf("%d statements ran, want 50", n)
	}

	pipeline := conn.PgConn().StartPipeline(ctx)
	for i := range 3 {
		pipeline.SendQueryParams("SELECT 1", nil, nil, nil, nil)
		pipeline.SendQueryParams([]string{"START SYNC TASK b", "START SYNC TASK missing", "START SYNC TASK c"}[i], nil, nil, nil, nil)
		if err := pipeline.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	err := pipeline.Close()
	wantCode(t, err, "42704")
	if got := h.control.statements()[50:]; !cmp.Equal(got, []string{"START SYNC TASK b", "START SYNC TASK missing", "START SYNC TASK c"}) {
		t.Errorf("statements that ran: %q", got)
	}
}

func TestManyOutstandingReplies(t *testing.T) {
	t.Parallel()
	h := setup(t)
	conn := h.connect(t)
	batch := &pgx.Batch{}
	const n = 3 * maxOutstanding
	for i := range n {
		batch.Queue("SELECT $1::int", i)
	}
	results := conn.SendBatch(t.Context(), batch)
	for i := range n {
		var got int
		if err := results.QueryRow().Scan(&got); err != nil || got != i {
			t.Fatalf("query %d: %d, %v", i, got, err)
		}
	}
	if err := results.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestLibPQ(t *testing.T) {
	t.Parallel()
	h := setup(t)
	ctx := t.Context()
	db, err := sql.Open("postgres", h.tcp("olga", "olga's password"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for range 2 {
		if _, err := db.ExecContext(ctx, "START SYNC TASK a"); err != nil {
			t.Fatal(err)
		}
		stmt, err := db.PrepareContext(ctx, "SHOW SYNC TASKS")
		if err != nil {
			t.Fatal(err)
		}
		rows, err := stmt.QueryContext(ctx)
		if err != nil {
			t.Fatal(err)
		}
		count := 0
		for rows.Next() {
			count++
		}
		if err := rows.Err(); err != nil || count != 5 {
			t.Errorf("%d rows, %v", count, err)
		}
		if err := stmt.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, err = db.ExecContext(ctx, "CREATE SYNC USER eve PASSWORD 'secret' ROLE ADMIN")
	if e, ok := errors.AsType[*pq.Error](err); !ok || e.Code != "42501" {
		t.Errorf("error: %v", err)
	}
}

func TestCopyOutEqualsDirect(t *testing.T) {
	t.Parallel()
	h := setup(t)
	// Rows around the size of the relay's buffer, and far beyond it.
	const query = `COPY (SELECT n, repeat('x', l) FROM unnest(ARRAY[1, 32700, 32760, 32768, 32800, 70000, 5000000, 3]) WITH ORDINALITY u(l, n)
		UNION ALL SELECT n, filler FROM numbers) TO STDOUT`
	read := func(conn *pgx.Conn) []byte {
		var buf bytes.Buffer
		if _, err := conn.PgConn().CopyTo(t.Context(), &buf, query); err != nil {
			t.Fatal(err)
		}
		return buf.Bytes()
	}
	direct, relayed := read(h.db(t)), read(h.connect(t))
	if !bytes.Equal(direct, relayed) {
		t.Errorf("%d bytes relayed, %d direct, and they differ", len(relayed), len(direct))
	}
}

func TestLargeRowsAndQueries(t *testing.T) {
	t.Parallel()
	h := setup(t)
	conn := h.connect(t)
	large := bytes.Repeat([]byte("é"), 3<<20)
	var got []byte
	if err := conn.QueryRow(t.Context(), "SELECT $1::bytea", large).Scan(&got); err != nil || !bytes.Equal(got, large) {
		t.Errorf("%d bytes came back, %v", len(got), err)
	}
	_, err := conn.Exec(t.Context(), "SELECT $1::bytea", bytes.Repeat([]byte("x"), maxFrame))
	wantCode(t, err, "08P01")
}

func TestListen(t *testing.T) {
	t.Parallel()
	h := setup(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, direct := h.connect(t), h.db(t)
	if _, err := conn.Exec(ctx, "LISTEN sync_events"); err != nil {
		t.Fatal(err)
	}
	if _, err := direct.Exec(ctx, "NOTIFY sync_events, 'idle'"); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.WaitForNotification(ctx); err != nil || n.Payload != "idle" {
		t.Fatalf("notification %v, %v", n, err)
	}
	// While a control statement is executing, too.
	done := make(chan error, 1)
	go func() {
		_, err := conn.Exec(ctx, "WAIT FOR SYNC TASK a CAUGHT UP")
		done <- err
	}()
	h.waiting(t)
	if _, err := direct.Exec(ctx, "NOTIFY sync_events, 'busy'"); err != nil {
		t.Fatal(err)
	}
	h.cancelFirst(t, conn)
	wantCode(t, <-done, "57014")
	if n, err := conn.WaitForNotification(ctx); err != nil || n.Payload != "busy" {
		t.Fatalf("notification %v, %v", n, err)
	}
}

func TestRefreshBeforeQueries(t *testing.T) {
	t.Parallel()
	h := setup(t)
	conn := h.connect(t)
	for _, query := range []string{"SELECT 1", "SHOW SYNC TASKS"} {
		for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
			before := h.backend.refreshed.Load()
			rows, err := conn.Query(t.Context(), query, mode)
			if err != nil {
				t.Fatal(err)
			}
			rows.Close()
			if h.backend.refreshed.Load() == before {
				t.Errorf("no refresh before %s in mode %s", query, mode)
			}
		}
	}
}
