package fullcopy_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgsyncd/sync/fullcopy"
	"pgsyncd/sync/schema"
	"pgsyncd/testenv"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// load is a set of writers that insert rows into tables without a key until stop is called.
type load struct {
	cancel context.CancelFunc
	group  *errgroup.Group
}

func (w *world) load(t *testing.T, writers int, tables ...string) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{cancel: cancel, group: &errgroup.Group{}}
	for i := range writers {
		conn, err := pgx.Connect(ctx, w.source.SocketString(w.from))
		if err != nil {
			t.Fatal(err)
		}
		l.group.Go(func() error {
			defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // the test is over
			for n := 0; ctx.Err() == nil; n++ {
				table := tables[rand.IntN(len(tables))] //nolint:gosec // not a secret
				// Not with ctx: a statement that is cut off would leave the outcome unknown, which is not what is tested.
				_, err := conn.Exec(context.WithoutCancel(ctx), fmt.Sprintf(
					"INSERT INTO %s SELECT %d, %d, 'x' FROM generate_series(1, %d)", table, i, n, 1+rand.IntN(3))) //nolint:gosec // not a secret
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	t.Cleanup(func() { _ = l.stop() })
	return l
}

func (l *load) stop() error {
	l.cancel()
	return l.group.Wait()
}

// follow applies the inserts that the slot holds, by the rule of the ledger: of each unit only what was committed at or
// after the position it was copied at.
func (w *world) follow(t *testing.T) {
	t.Helper()
	copied := map[string]pglogrepl.LSN{}
	rows, err := w.dst.Query(t.Context(), "SELECT unit, lsn::text FROM pgsyncd.copied")
	if err != nil {
		t.Fatal(err)
	}
	var unit, text string
	if _, err := pgx.ForEachRow(rows, []any{&unit, &text}, func() (err error) {
		copied[unit], err = pglogrepl.ParseLSN(text)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	rows, err = w.src.Query(t.Context(), "SELECT data FROM pg_logical_slot_get_binary_changes($1, NULL, NULL, 'proto_version', '1', 'publication_names', $2)",
		w.cfg.Slot, w.cfg.Publication)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	if err != nil {
		t.Fatal(err)
	}
	relations := map[uint32]schema.Name{}
	inserts := map[schema.Name][]string{}
	var commit pglogrepl.LSN
	skipped, applied := 0, 0
	for _, data := range messages {
		m, err := pglogrepl.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		switch m := m.(type) {
		case *pglogrepl.BeginMessage:
			commit = m.FinalLSN
		case *pglogrepl.RelationMessage:
			relations[m.RelationID] = schema.Name{Schema: m.Namespace, Name: m.RelationName}
		case *pglogrepl.InsertMessage:
			name := relations[m.RelationID]
			if commit < copied[name.String()] {
				skipped++
				continue
			}
			var values []string
			for _, c := range m.Tuple.Columns {
				values = append(values, "'"+string(c.Data)+"'")
			}
			inserts[name] = append(inserts[name], "("+strings.Join(values, ", ")+")")
			applied++
		}
	}
	for name, rows := range inserts {
		for chunk := range slices.Chunk(rows, 1000) {
			exec(t, w.dst, fmt.Sprintf("INSERT INTO %s VALUES %s", name, strings.Join(chunk, ", ")))
		}
	}
	t.Logf("%d changes applied on top of the copy, %d skipped", applied, skipped)
}

const keyless = `CREATE TABLE a (w int, n int, t text); CREATE TABLE b (w int, n int, t text);
	INSERT INTO a SELECT -1, i, repeat('y', 200) FROM generate_series(1, 20000) i;`

// Trap 6: the snapshot and the slot's position fit exactly, whatever is written meanwhile.
func TestHandOver(t *testing.T) {
	t.Parallel()
	w := setup(t, keyless)
	w.cfg.SplitAbove = 1 << 20
	l := w.load(t, 4, "a", "b")
	for range 4 {
		w.cfg.Task = newTask()
		w.incremental()
		w.to = w.destination.Database(t)
		w.dst, w.cfg.Destination = w.destination.Connect(t, w.to), parse(t, w.destination.ConnString(w.to))
		w.run(t)
		if t.Failed() {
			return
		}
		// The state at one position: nothing may be written between the two reads.
		exec(t, w.src, "BEGIN; LOCK TABLE a, b IN SHARE MODE")
		reader := w.source.Connect(t, w.from)
		conn := w.src
		w.src = reader
		w.follow(t)
		testenv.MustEqual(t, w.src, w.dst, "public.a", "public.b")
		w.src = conn
		exec(t, w.src, "COMMIT")
		exec(t, w.src, "SELECT pg_drop_replication_slot($1)", w.cfg.Slot)
	}
	if err := l.stop(); err != nil {
		t.Fatal(err)
	}
}

// Whatever is cut, and however often: finished units stay, others are copied again, and the stream fits on top of both.
func TestResume(t *testing.T) {
	t.Parallel()
	w := setup(t, shop+tree+keyless)
	w.incremental()
	w.cfg.SplitAbove, w.cfg.Workers = 100<<10, 8
	source, destination := w.through(t)
	l := w.load(t, 2, "a", "b")
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // repeatable
	cuts := 0
	for ; ; cuts++ {
		if cuts < 30 {
			n := random.IntN(300 + 40*cuts)
			after := func(testenv.Direction, byte, []byte) bool { n--; return n < 0 }
			if random.IntN(2) == 0 {
				source.CutAfter(after)
			} else {
				destination.CutAfter(after)
			}
		}
		_, err := fullcopy.Run(t.Context(), w.cfg)
		source.ClearRules()
		destination.ClearRules()
		if err == nil {
			break
		}
		var lost *fullcopy.LostError
		if errors.As(err, &lost) || cuts == 40 {
			t.Fatal(err)
		}
	}
	t.Logf("done after %d cuts", cuts)
	if err := l.stop(); err != nil {
		t.Fatal(err)
	}
	w.follow(t)
	testenv.MustEqual(t, w.src, w.dst)
	equal(t, "slots", value[int](t, w.src, "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"), 1)
}

// Nothing is read under a slot's snapshot while a transaction that it shows is still in the list of running ones. Such a one
// is a commit that waits for a standby that does not exist. Two older transactions keep the slot from being consistent until
// that commit is in the WAL (snapbuild.c: the states building snapshot, full snapshot, consistent).
func TestSettle(t *testing.T) {
	t.Parallel()
	w := setup(t, "")
	w.source, w.from = testenv.Start(t, testenv.Config{}), "postgres"
	w.src, w.cfg.Source = w.source.Connect(t, w.from), parse(t, w.source.ConnString(w.from))
	w.incremental()
	exec(t, w.src, "CREATE TABLE a (n int)")
	older := func() (end func()) {
		conn := w.source.Connect(t, w.from)
		exec(t, conn, "SET synchronous_commit = local")
		exec(t, conn, "BEGIN; CREATE TABLE "+fmt.Sprintf("t%d", conn.PgConn().PID())+" ()")
		xid := value[string](t, conn, "SELECT txid_current() % (2 ^ 32)::bigint || ''")
		return func() {
			w.untilSource(t, "EXISTS (SELECT FROM pg_locks WHERE NOT granted AND transactionid::text = $1)", xid)
			exec(t, conn, "COMMIT")
		}
	}
	endFirst := older()
	wait := w.background(t.Context())
	w.untilSource(t, "EXISTS (SELECT FROM pg_locks WHERE NOT granted AND locktype = 'transactionid')")
	if err := w.source.Set(t.Context(), map[string]string{"synchronous_standby_names": "nobody"}, false); err != nil {
		t.Fatal(err)
	}
	endSecond := older()
	endFirst()
	w.untilSource(t, "EXISTS (SELECT FROM pg_locks WHERE NOT granted AND locktype = 'transactionid')")
	// The checkpointer decides when commits begin to wait.
	conn := w.source.Connect(t, w.from)
	committed := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for ctx.Err() == nil {
			if _, err := conn.Exec(context.WithoutCancel(ctx), "INSERT INTO a VALUES (1)"); err != nil {
				committed <- err
				return
			}
		}
		committed <- nil
	}()
	w.untilSource(t, "EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep')")
	cancel()
	endSecond()
	done := make(chan error, 1)
	go func() { done <- wait() }()
	testenv.Eventually(t, "the copy waits for the snapshot", func() (ok bool) {
		select {
		case err := <-done:
			t.Fatalf("the copy did not wait: %v", err)
		default:
		}
		err := w.src.QueryRow(t.Context(), `SELECT count(*) > 0 FROM pg_stat_activity
			WHERE application_name LIKE 'pgsyncd%' AND query LIKE '%pg_visible_in_snapshot%'`).Scan(&ok)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	})
	if err := w.source.Set(t.Context(), map[string]string{"synchronous_standby_names": ""}, false); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(<-committed, <-done); err != nil {
		t.Fatal(err)
	}
	w.follow(t)
	testenv.MustEqual(t, w.src, w.dst, "public.a")
}
