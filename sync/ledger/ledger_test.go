package ledger_test

import (
	"context"
	"errors"
	"maps"
	"testing"

	"pgsyncd/sync/ledger"
	"pgsyncd/testenv"

	"github.com/google/uuid"
	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func setup(t *testing.T) (*testenv.Cluster, string, *pgx.Conn) {
	t.Helper()
	c := testenv.Shared(t)
	db := c.Database(t)
	return c, db, c.Connect(t, db)
}

func position(task string, lsn pglogrepl.LSN) ledger.Position {
	return ledger.Position{Task: task, Slot: "s", SystemID: "123", Timeline: 1, LSN: lsn}
}

func TestPositionMovesOnlyForItsOwner(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	_, _, conn := setup(t)
	task := uuid.NewString()
	if _, err := ledger.Read(ctx, conn, task); !errors.Is(err, ledger.ErrNoPosition) {
		t.Fatalf("read without a ledger: %v", err)
	}
	if _, err := ledger.Raise(ctx, conn, task); !errors.Is(err, ledger.ErrNoPosition) {
		t.Fatalf("raise without a ledger: %v", err)
	}
	if err := ledger.Begin(ctx, conn, position(task, 100)); err != nil {
		t.Fatal(err)
	}
	first, err := ledger.Raise(ctx, conn, task)
	if err != nil {
		t.Fatal(err)
	}
	if want := (ledger.Position{Task: task, Fence: 1, Slot: "s", SystemID: "123", Timeline: 1, LSN: 100}); first != want {
		t.Fatalf("raised to %+v", first)
	}
	step := func(fence int64, from, to pglogrepl.LSN) error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if err := ledger.Hold(ctx, tx, task, fence, from); err != nil {
				return err
			}
			return ledger.Advance(ctx, tx, task, fence, from, to)
		})
	}
	if err := step(1, 100, 200); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func() error{
		"old position": func() error { return step(1, 100, 300) },
		"backwards":    func() error { return step(1, 200, 199) },
		"later fence":  func() error { return step(2, 200, 300) },
		"another task": func() error {
			return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return ledger.Hold(ctx, tx, uuid.NewString(), 1, 200) })
		},
		"check of later": func() error {
			return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return ledger.Check(ctx, tx, task, 2) })
		},
	} {
		if err := f(); !errors.Is(err, ledger.ErrFenced) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if second, err := ledger.Raise(ctx, conn, task); err != nil || second.Fence != 2 || second.LSN != 200 {
		t.Fatalf("raised to %+v, %v", second, err)
	}
	if err := step(1, 200, 300); !errors.Is(err, ledger.ErrFenced) {
		t.Errorf("the former owner: %v", err)
	}
	if err := step(2, 200, 300); err != nil {
		t.Error(err)
	}
}

func TestRaiseWaitsForTheFormerOwner(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c, db, conn := setup(t)
	task := uuid.NewString()
	if err := ledger.Begin(ctx, conn, position(task, 100)); err != nil {
		t.Fatal(err)
	}
	owner, next := c.Connect(t, db), c.Connect(t, db)
	tx, err := owner.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := ledger.Hold(ctx, tx, task, 0, 100); err != nil {
		t.Fatal(err)
	}
	var raised ledger.Position
	var g errgroup.Group
	g.Go(func() (err error) {
		raised, err = ledger.Raise(ctx, next, task)
		return err
	})
	waiting := false
	for !waiting {
		if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $1 AND NOT granted)`, next.PgConn().PID()).Scan(&waiting); err != nil {
			t.Fatal(err)
		}
	}
	if err := ledger.Advance(ctx, tx, task, 0, 100, 200); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if err := g.Wait(); err != nil || raised.LSN != 200 || raised.Fence != 1 {
		t.Errorf("raised to %+v, %v", raised, err)
	}
}

func TestBeginAnewForgetsCopiesAndKeepsTheFence(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	_, _, conn := setup(t)
	task, other := uuid.NewString(), uuid.NewString()
	for _, id := range []string{task, other} {
		if err := ledger.Begin(ctx, conn, position(id, 100)); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(ledger.MarkCopied(ctx, conn, id, `"public"."t"`, 100), ledger.MarkCopied(ctx, conn, id, `"public"."t"`, 150),
			ledger.MarkObject(ctx, conn, id, "TABLE public t"), ledger.MarkObject(ctx, conn, id, "TABLE public t")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ledger.Raise(ctx, conn, task); err != nil {
		t.Fatal(err)
	}
	if err := ledger.Begin(ctx, conn, position(task, 50)); err != nil {
		t.Fatal(err)
	}
	if p, err := ledger.Read(ctx, conn, task); err != nil || p.Fence != 2 || p.LSN != 50 {
		t.Errorf("begun anew at %+v, %v", p, err)
	}
	for id, want := range map[string]map[string]pglogrepl.LSN{task: {}, other: {`"public"."t"`: 150}} {
		if got, err := ledger.Copied(ctx, conn, id); err != nil || !maps.Equal(got, want) {
			t.Errorf("copied: %v, %v", got, err)
		}
		if got, err := ledger.Objects(ctx, conn, id); err != nil || !maps.Equal(got, map[string]bool{"TABLE public t": true}) {
			t.Errorf("objects: %v, %v", got, err)
		}
	}
}

func TestTasksComeAndGoTogether(t *testing.T) {
	t.Parallel()
	c, db, conn := setup(t)
	g, ctx := errgroup.WithContext(t.Context())
	for range 8 {
		own := c.Connect(t, db)
		g.Go(func() error {
			for range 10 {
				if err := lifetime(ctx, own); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	var left bool
	if err := conn.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'pgsyncd')`).Scan(&left); err != nil || left {
		t.Errorf("schema left behind: %v, %v", left, err)
	}
}

// lifetime is a short task.
func lifetime(ctx context.Context, conn *pgx.Conn) error {
	task := uuid.NewString()
	if err := errors.Join(ledger.Ensure(ctx, conn), ledger.Begin(ctx, conn, position(task, 1))); err != nil {
		return err
	}
	p, err := ledger.Raise(ctx, conn, task)
	if err != nil {
		return err
	}
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		return errors.Join(ledger.Hold(ctx, tx, task, p.Fence, 1), ledger.MarkCopied(ctx, tx, task, "u", 1), ledger.Advance(ctx, tx, task, p.Fence, 1, 2))
	})
	return errors.Join(err, ledger.Erase(ctx, conn, task))
}

func TestSchemaWithOtherObjectsStays(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c, db, conn := setup(t)
	task := uuid.NewString()
	if err := ledger.Erase(ctx, conn, task); err != nil {
		t.Fatalf("erase without a ledger: %v", err)
	}
	if err := ledger.Begin(ctx, conn, position(task, 1)); err != nil {
		t.Fatal(err)
	}
	c.Exec(t, db, `CREATE FUNCTION pgsyncd.helper() RETURNS int LANGUAGE sql AS 'SELECT 1'`)
	if err := ledger.Erase(ctx, conn, task); err != nil {
		t.Fatal(err)
	}
	c.Exec(t, db, `SELECT pgsyncd.helper()`)
}
