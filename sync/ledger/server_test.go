package ledger_test

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"pgsyncd/sync/ledger"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// The server is recorded under the fence, and is what the server itself says, whoever asks.
func TestServerIsRecorded(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c, db, conn := setup(t)
	task := uuid.NewString()
	if err := ledger.Begin(ctx, conn, position(task, 100)); err != nil {
		t.Fatal(err)
	}
	own, err := ledger.Raise(ctx, conn, task)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := ledger.LastServer(ctx, conn, task); err != nil || s != (ledger.Server{}) {
		t.Errorf("before: %v, %v", s, err)
	}
	now, err := ledger.Identify(ctx, conn)
	if err != nil || now.SystemID == "" || now.Timeline != 1 {
		t.Fatalf("%+v, %v", now, err)
	}
	other := c.Connect(t, db)
	if _, err := other.Exec(ctx, "SET ROLE pg_signal_backend"); err != nil { // which has no privilege that matters here
		t.Fatal(err)
	}
	if seen, err := ledger.Identify(ctx, other); err != nil || seen != now {
		t.Errorf("a role without privileges sees %+v, %v", seen, err)
	}
	for _, s := range []ledger.Server{now, {SystemID: "77", Timeline: 5}} {
		if err := ledger.MoveTo(ctx, conn, task, own.Fence, s); err != nil {
			t.Fatal(err)
		}
		if got, err := ledger.LastServer(ctx, conn, task); err != nil || got != s {
			t.Errorf("recorded %+v: got %+v, %v", s, got, err)
		}
	}
	if err := ledger.MoveTo(ctx, conn, task, own.Fence+1, now); !errors.Is(err, ledger.ErrFenced) {
		t.Errorf("under another fence: %v", err)
	}
}

// A reset ends the position for good and keeps what exists; what is dropped is forgotten, but neither where rows are nor which roles were made.
func TestResetKeepsWhatExists(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	_, _, conn := setup(t)
	task := uuid.NewString()
	if err := ledger.Reset(ctx, conn, task); err != nil {
		t.Errorf("without a ledger: %v", err)
	}
	if err := ledger.BeginWith(ctx, conn, position(task, 100), func(tx pgx.Tx) error {
		if err := ledger.MarkCopied(ctx, tx, task, ledger.UnitPrefix+"t", 100); err != nil {
			return err
		}
		return ledger.MarkObject(ctx, tx, task, "TABLE t", ledger.ClaimPrefix+"t", ledger.RoleKey("r"), ledger.SourceKeys(5, "t")[0])
	}); err != nil {
		t.Fatal(err)
	}
	own, err := ledger.Raise(ctx, conn, task)
	if err != nil {
		t.Fatal(err)
	}
	if err := ledger.Reset(ctx, conn, task); err != nil {
		t.Fatal(err)
	}
	p, err := ledger.Read(ctx, conn, task)
	if err != nil || p.Slot != "" || p.LSN != 0 || p.Fence <= own.Fence {
		t.Errorf("after the reset: %+v, %v", p, err)
	}
	if units, err := ledger.Copied(ctx, conn, task); err != nil || len(units) > 0 {
		t.Errorf("copied: %v, %v", units, err)
	}
	objects := func() []string {
		keys, err := ledger.Objects(ctx, conn, task)
		if err != nil {
			t.Fatal(err)
		}
		return slices.Sorted(maps.Keys(keys))
	}
	if got := objects(); !slices.Equal(got, []string{"ROLE r", "ROWS t", "TABLE t"}) {
		t.Errorf("known after the reset: %q", got)
	}
	if err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return ledger.ForgetMade(ctx, tx, task) }); err != nil {
		t.Fatal(err)
	}
	if got := objects(); !slices.Equal(got, []string{"ROLE r", "ROWS t"}) {
		t.Errorf("known after all was dropped: %q", got)
	}
}
