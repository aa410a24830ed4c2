package fullcopy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/group"
	"pgsyncd/sync/ledger"
	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// busyInterval is the pause between two attempts on a table that another task is copying into.
const busyInterval = time.Second

// lockPatience is how long a loader waits for a lock that the anchor holds too. Waiting means that somebody stands between
// them who waits for the anchor; only the end of the round resolves that.
const lockPatience = "500ms"

// writeBackSQL has the destination's system write rows to disk as they come, a megabyte at a time. Otherwise they pile up until the next
// checkpoint wants all of them on disk at once, and the log, for which every session waits, queues behind them. Servers before
// 9.6 do not have the setting, and what an administrator has chosen stays.
const writeBackSQL = `
SELECT pg_catalog.set_config(name, '1MB', false) FROM pg_catalog.pg_settings WHERE name = 'backend_flush_after' AND setting = '0'`

// errMoved reports that a table was rewritten although the anchor should have prevented it: its session has died.
var errMoved = errors.New("the table was rewritten after the snapshot")

// loader copies the rows of one round.
type loader struct {
	*job
	snap       *snapshot
	collisions *collisions
	flusher    *flusher
	copied     func(*unit) // called once for every unit whose rows are committed
}

// run copies all loads over cfg.Workers pairs of connections. A table whose rows are refused does not keep the others from
// being copied; what the error is about is kept in job.tables. Everything else ends the run.
func (l *loader) run(ctx context.Context, loads []*load) error {
	queue := make(chan *load, len(loads))
	for _, w := range loads {
		queue <- w
	}
	close(queue)
	standBack.hold()
	defer standBack.release()
	g, ctx := group.WithContext(ctx)
	for range min(l.cfg.Workers, len(loads)) {
		g.Go(func() error {
			p := &pair{loader: l}
			defer p.close(ctx)
			for w := range queue {
				if err := p.work(ctx, w); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// pair is a source session that sees the snapshot and a destination session.
type pair struct {
	*loader
	source, destination *pgx.Conn
}

func (p *pair) open(ctx context.Context) (err error) {
	if p.source, p.destination, err = p.connectBoth(ctx); err != nil {
		return err
	}
	if err = p.snap.begin(ctx, p.source); err != nil {
		return err
	}
	if _, err = p.source.Exec(ctx, "SET LOCAL lock_timeout = '"+lockPatience+"'"); err != nil {
		return fmt.Errorf("limit the wait for locks: %w", err)
	}
	if _, err = p.destination.Exec(ctx, writeBackSQL); err != nil {
		return fmt.Errorf("prepare a session on the destination: %w", err)
	}
	return nil
}

func (p *pair) close(ctx context.Context) {
	endpoint.CloseConn(ctx, p.source)
	endpoint.CloseConn(ctx, p.destination)
	p.source, p.destination = nil, nil
}

// abandon closes both sessions in the middle of a command.
func (p *pair) abandon(ctx context.Context) {
	for _, c := range []*pgx.Conn{p.source, p.destination} {
		if c != nil {
			abandon(ctx, c)
		}
	}
	p.source, p.destination = nil, nil
}

// work performs one load.
func (p *pair) work(ctx context.Context, w *load) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if w.unit.failed.Load() {
		return nil
	}
	if p.source == nil {
		if err := p.open(ctx); err != nil {
			return err
		}
	}
	err := poll(ctx, busyInterval, func() (bool, error) {
		err := p.attempt(ctx, w)
		if errors.Is(err, errBusy) && !p.destination.IsClosed() {
			p.cfg.Report.Phase(PhaseData+": waiting for another task to copy into "+w.unit.name.String(), 0, 0)
			return false, nil
		}
		return err == nil, err
	})
	if err == nil {
		return p.complete(ctx, w)
	}
	p.abandon(ctx)
	err = fmt.Errorf("copy %s: %w", w, err)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	yields := endpoint.SQLState(err) == "55P03" || errors.Is(err, errMoved) // sessions on the destination wait for locks without limit
	switch {
	case !yields && !concernsTable(err):
		return err
	case w.unit.failed.Swap(true): // another part was first
	case yields:
		p.log.Info("table is left to a further round", "table", w.unit.name.String(), "error", err)
		p.tables.giveWay(w.unit)
	default:
		p.tables.refuse(w.unit, err)
	}
	return nil
}

// attempt prepares the unit where that could not be done before, and brings the rows.
func (p *pair) attempt(ctx context.Context, w *load) error {
	if !w.unit.fresh {
		if err := p.collisions.prepare(ctx, p.destination, w.unit); err != nil {
			return err
		}
	}
	return p.transfer(ctx, w)
}

// transfer brings the rows of a load in one transaction. Whoever took the task over is found out at its end: the check locks
// the ledger's row, which must not last longer than needed.
func (p *pair) transfer(ctx context.Context, w *load) error {
	tx, err := p.destination.Begin(ctx)
	if err != nil {
		return err
	}
	if w.alone {
		err := p.claim(ctx, tx, w.unit, w.freeze)
		if errors.Is(err, errBusy) {
			return errors.Join(err, tx.Rollback(ctx))
		}
		if err != nil {
			return err
		}
	} else if w.freeze {
		if _, err := tx.Exec(ctx, "TRUNCATE ONLY "+w.pieces[0].feed.target.String()); err != nil {
			return err
		}
	}
	for _, piece := range w.pieces {
		if w.unit.staged {
			err = p.copyStaged(ctx, tx, piece)
		} else {
			_, err = p.copy(ctx, piece, piece.feed.target, w.freeze)
		}
		if err != nil {
			return err
		}
	}
	if err := ledger.Check(ctx, tx, p.cfg.Task, p.fence); err != nil {
		return err
	}
	if w.alone {
		if err := p.markCopied(ctx, tx, w.unit); err != nil {
			return err
		}
	}
	return tx.Commit(ctx)
}

// complete finishes a load whose transaction is committed, and its unit with the last one.
func (p *pair) complete(ctx context.Context, w *load) error {
	if w.unit.unloaded.Add(-1) > 0 || w.unit.failed.Load() {
		return nil
	}
	if !w.alone {
		err := pgx.BeginFunc(ctx, p.destination, func(tx pgx.Tx) error {
			if err := ledger.Check(ctx, tx, p.cfg.Task, p.fence); err != nil {
				return err
			}
			return p.markCopied(ctx, tx, w.unit)
		})
		if err != nil {
			return err
		}
	}
	p.tables.copied(w.unit)
	p.copied(w.unit)
	return nil
}

// markCopied records the unit, and each source table by its own name: a partition may be attached elsewhere before the stream
// comes to the changes that its copy shows, or be dropped. What is attached later is known by its absence. With the OIDs, tables that
// exchange their names are told apart.
func (j *job) markCopied(ctx context.Context, tx pgx.Tx, u *unit) error {
	keys, marks := []string{unitKey(u.name)}, []string(nil)
	add := func(t *schema.Table, lineage ...schema.Name) {
		keys = append(keys, t.Name.String())
		names := make([]string, len(lineage))
		for i, n := range lineage {
			names[i] = n.String()
		}
		marks = append(marks, ledger.SourceKeys(t.OID, names...)...)
	}
	for _, t := range u.roots {
		add(t, t.Name)
	}
	for _, f := range u.feeds {
		if !slices.Contains(u.roots, f.source) {
			add(f.source, f.lineage...)
		}
	}
	for _, key := range keys {
		if err := ledger.MarkCopied(ctx, tx, j.cfg.Task, key, u.lsn); err != nil {
			return err
		}
	}
	return ledger.MarkObject(ctx, tx, j.cfg.Task, marks...)
}

// copy relays one piece into the target and returns the number of its rows.
func (p *pair) copy(ctx context.Context, piece piece, target schema.Name, freeze bool) (rows int64, err error) {
	out, in := p.statements(piece, target, freeze)
	moved := p.tables.begin(piece.feed)
	r := relay{
		source: p.source.PgConn(), destination: p.destination.PgConn(), out: out, in: in,
		moving: func(ctx context.Context, n, rows int) error {
			if p.cfg.Limiter != nil {
				if err := p.cfg.Limiter.Wait(ctx, n); err != nil {
					return err
				}
			}
			moved.add(n, rows)
			p.flusher.add(n)
			return nil
		},
	}
	rows, err = r.run(ctx)
	moved.end(rows, err)
	if err != nil {
		return 0, err
	}
	// Read past the snapshot, and under the lock this session has by now.
	var node uint32
	t := piece.feed.source
	err = p.source.QueryRow(ctx, "SELECT coalesce(pg_catalog.pg_relation_filenode($1::oid), 0)", t.OID).Scan(&node)
	if err == nil && node != t.Filenode {
		err = errMoved
	}
	return rows, err
}

// String names the load in messages.
func (w *load) String() string {
	if len(w.pieces) != 1 {
		return w.unit.name.String()
	}
	return w.pieces[0].feed.source.Name.String() + w.pieces[0].part
}

// concernsTable tells an error that lies in one table's rows or definition from one of the servers, of the network or of
// the task as a whole.
func concernsTable(err error) bool {
	var unit *UnitError
	var refused refusal
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &unit), errors.As(err, &refused), errors.Is(err, errCount):
		return true
	case errors.As(err, &pg):
		// Connection, transaction state, deadlock, resources, intervention, locks, the disk.
		for _, class := range []string{"08", "25", "40", "53", "57", "55006", "55P03", "58030", "72"} {
			if strings.HasPrefix(pg.Code, class) {
				return false
			}
		}
		return pg.Severity != "FATAL" && pg.SeverityUnlocalized != "FATAL"
	}
	return false
}
