package fullcopy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"

	"pgsyncd/sync/ledger"
	"pgsyncd/sync/schema"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// job is one call of Run.
type job struct {
	cfg Config
	log *slog.Logger

	// Sessions for everything that is done one after the other; never used by two goroutines at once.
	src, dst           *pgx.Conn
	sourceVersion      int
	destinationVersion int
	encoding           string // for both COPY commands; empty where both databases are UTF8 and nothing is converted
	pgDump             string

	fence   int64
	start   pglogrepl.LSN // where the task's slot begins
	marks   marks
	replica atomic.Bool // triggers and foreign keys of the destination do not fire
	tables  *tables
}

// Run copies structure and rows. When it fails or ctx ends it can be called again with the same Config, also by another
// process: what the ledger calls finished is not done again. It returns the cause of ctx when that ended, *ObjectsError and
// *TablesError when everything was tried and the destination refused something, *LostError when resuming is impossible.
func Run(ctx context.Context, cfg Config) (Result, error) {
	if err := cfg.validate(); err != nil {
		return Result{}, err
	}
	j := &job{cfg: cfg, log: cfg.Logger, tables: newTables(cfg.Report)}
	defer j.close()
	result, err := j.run(ctx)
	if ctx.Err() != nil {
		return Result{}, context.Cause(ctx)
	}
	return result, err
}

func (j *job) close() {
	closeConn(j.src)
	closeConn(j.dst)
}

func (j *job) run(ctx context.Context) (Result, error) {
	j.cfg.Report.Phase(PhaseSnapshot, 0, 0)
	if err := j.open(ctx); err != nil {
		return Result{}, err
	}
	snap, err := j.takeOver(ctx)
	if err != nil {
		return Result{}, err
	}
	for again := true; again; snap = nil {
		if again, err = j.round(ctx, snap); err != nil {
			return Result{}, err
		}
	}
	copied, err := ledger.Copied(ctx, j.dst, j.cfg.Task)
	if err != nil {
		return Result{}, err
	}
	result := Result{HighestLSN: j.start}
	for _, lsn := range copied {
		result.HighestLSN = max(result.HighestLSN, lsn)
	}
	return result, nil
}

// open connects to both sides and looks what they are.
func (j *job) open(ctx context.Context) (err error) {
	if j.src, err = j.cfg.Source.Connect(ctx, j.cfg.application()); err != nil {
		return err
	}
	if j.dst, err = j.connectDestination(ctx); err != nil {
		return err
	}
	if j.sourceVersion, err = schema.ServerVersion(ctx, j.src); err != nil {
		return fmt.Errorf("source: %w", err)
	}
	if j.destinationVersion, err = schema.ServerVersion(ctx, j.dst); err != nil {
		return fmt.Errorf("destination: %w", err)
	}
	theirs, ours := j.src.PgConn().ParameterStatus("server_encoding"), j.dst.PgConn().ParameterStatus("server_encoding")
	if theirs != "UTF8" || ours != "UTF8" {
		// One conversion, by the source, and none at all where both are the same.
		j.encoding = ours
	}
	if j.encoding != "" && j.cfg.Format == FormatBinary {
		return fmt.Errorf("binary format needs UTF8 on both sides, not %s and %s", theirs, ours)
	}
	j.pgDump, _, err = schema.FindPgDump(ctx, j.sourceVersion, j.destinationVersion)
	return err
}

// evictSQL ends the sessions of an earlier run that are still there because their client vanished without a word. They could
// not do harm, the fence sees to that, but hold locks and slots.
const evictSQL = `
SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
 WHERE application_name = $1 AND usename = current_user AND datname = pg_catalog.current_database() AND pid <> pg_catalog.pg_backend_pid()`

// takeOver makes this run the task's only one and finds out where the task stands. At the very beginning it creates the
// publication, the slot and the ledger's row, in this order, and returns the slot's snapshot.
func (j *job) takeOver(ctx context.Context) (snap *snapshot, err error) {
	for _, conn := range []*pgx.Conn{j.src, j.dst} {
		if _, err := conn.Exec(ctx, evictSQL, j.cfg.application()); err != nil {
			return nil, fmt.Errorf("end sessions of an earlier run: %w", err)
		}
	}
	if err := ledger.Ensure(ctx, j.dst); err != nil {
		return nil, err
	}
	position, err := ledger.Read(ctx, j.dst, j.cfg.Task)
	switch {
	case errors.Is(err, ledger.ErrNoPosition):
		if snap, err = j.beginTask(ctx); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	default:
		if err := j.checkSlot(ctx, position); err != nil {
			return nil, err
		}
	}
	if position, err = ledger.Raise(ctx, j.dst, j.cfg.Task); err == nil {
		j.fence, j.start = position.Fence, position.LSN
		j.marks.keys, err = ledger.Objects(ctx, j.dst, j.cfg.Task)
	}
	if err != nil && snap != nil {
		snap.close()
	}
	return snap, err
}

// beginTask makes the task's traces on both sides. If it is interrupted before the ledger has the row, the next run finds no
// row and begins again, dropping the slot.
func (j *job) beginTask(ctx context.Context) (snap *snapshot, err error) {
	position := ledger.Position{Task: j.cfg.Task, Slot: j.cfg.Slot}
	if j.cfg.incremental() {
		if err := j.createPublication(ctx); err != nil {
			return nil, err
		}
		if snap, err = j.exportSlot(ctx, j.cfg.Slot, true); err != nil {
			return nil, err
		}
		position.SystemID, position.Timeline, position.LSN = snap.system.SystemID, snap.system.Timeline, snap.lsn
	}
	if err := ledger.Begin(ctx, j.dst, position); err != nil {
		if snap != nil {
			snap.close()
		}
		return nil, err
	}
	return snap, nil
}

// checkSlot refuses to go on without the slot that has kept the changes since the beginning.
func (j *job) checkSlot(ctx context.Context, p ledger.Position) error {
	if p.Slot != j.cfg.Slot {
		return &LostError{fmt.Sprintf("it was begun with slot %q, not %q", p.Slot, j.cfg.Slot)}
	}
	if !j.cfg.incremental() {
		return nil
	}
	lost := "restart_lsn IS NULL"
	if j.sourceVersion >= 130000 {
		lost = "coalesce(wal_status = 'lost', true) OR " + lost
	}
	var gone bool
	err := j.src.QueryRow(ctx, `SELECT `+lost+` FROM pg_catalog.pg_replication_slots
		WHERE slot_name = $1 AND slot_type = 'logical' AND database = pg_catalog.current_database()`, j.cfg.Slot).Scan(&gone)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return &LostError{fmt.Sprintf("slot %q does not exist any more", j.cfg.Slot)}
	case err != nil:
		return fmt.Errorf("look for slot %s: %w", j.cfg.Slot, err)
	case gone:
		return &LostError{fmt.Sprintf("slot %q has lost changes", j.cfg.Slot)}
	}
	conn, err := j.cfg.Source.ConnectReplication(ctx, j.cfg.application())
	if err != nil {
		return err
	}
	defer closeRaw(conn)
	system, err := pglogrepl.IdentifySystem(ctx, conn)
	if err != nil {
		return fmt.Errorf("identify the source: %w", err)
	}
	if system.SystemID != p.SystemID {
		return &LostError{fmt.Sprintf("the source is another cluster (system identifier %s, not %s)", system.SystemID, p.SystemID)}
	}
	return nil
}

// round copies what is not copied yet under one snapshot. It asks for another round when tables were changed before they
// could be locked. snap is nil when the round has to make its own.
func (j *job) round(ctx context.Context, snap *snapshot) (again bool, err error) {
	copied, err := ledger.Copied(ctx, j.dst, j.cfg.Task)
	if err == nil && snap == nil {
		snap, err = j.freshSnapshot(ctx, copied)
	}
	if err != nil {
		if snap != nil {
			snap.close()
		}
		return false, err
	}
	defer snap.close()
	a, err := j.holdTables(ctx, snap)
	if err != nil {
		return false, err
	}
	defer a.close()
	left, retry := a.postponed(copied)
	if len(left) > 0 {
		j.log.Info("tables changed before they could be locked", "tables", names(left))
	}
	if retry {
		return true, nil
	}
	if len(a.late) > 0 {
		j.log.Warn("tables created after the task began do not belong to it", "tables", names(a.late))
	}
	archive, plan, err := j.dump(ctx, snap, a)
	if err != nil {
		return false, err
	}
	out := func(n schema.Name) bool { _, excluded := plan.Excludes(n); return excluded || left[n] || a.late[n] }
	l, err := j.readLayout(ctx, a.inv)
	if err != nil {
		return false, err
	}
	o := j.newObjects(archive, plan, out, l)
	if err := j.createBefore(ctx, o, archive, plan); err != nil {
		return false, err
	}
	if err := j.fill(ctx, o, plan, snap, a, copied, out); err != nil {
		return false, err
	}
	if len(left) > 0 {
		return true, nil
	}
	return false, j.finish(ctx, o, plan)
}

// freshSnapshot makes the snapshot of a resumed task or of a further round. When no rows are to be copied it needs no
// position.
func (j *job) freshSnapshot(ctx context.Context, copied map[string]pglogrepl.LSN) (*snapshot, error) {
	if j.cfg.incremental() {
		inv, err := schema.Read(ctx, j.src, j.cfg.Selection)
		if err != nil {
			return nil, fmt.Errorf("source: %w", err)
		}
		for i := range inv.Tables {
			if _, ok := copied[unitName(inv, &inv.Tables[i]).String()]; !ok {
				return j.exportSlot(ctx, j.cfg.Slot+copySlotSuffix, false)
			}
		}
	}
	return j.exportPlain(ctx)
}

func (j *job) dump(ctx context.Context, snap *snapshot, a *anchor) (*schema.Archive, *schema.Plan, error) {
	j.cfg.Report.Phase(PhaseStructure, 0, 0)
	cfg := schema.DumpConfig{Endpoint: j.cfg.Source, PgDump: j.pgDump, Snapshot: snap.name, WorkDir: j.cfg.WorkDir}
	if !j.cfg.Selection.All {
		for _, t := range a.inv.Tables {
			cfg.Tables = append(cfg.Tables, t.Name)
		}
	}
	archive, err := schema.Dump(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	plan, err := archive.Plan(a.inv, j.cfg.Selection, schema.PlanOptions{Indexes: j.cfg.Indexes})
	return archive, plan, err
}

// createBefore makes everything that must exist before rows come. Rows are not copied while something of it is missing.
func (j *job) createBefore(ctx context.Context, o *objects, archive *schema.Archive, plan *schema.Plan) error {
	if _, err := j.dst.Exec(ctx, archive.SessionSQL()); err != nil {
		return fmt.Errorf("prepare a session on the destination: %w", err)
	}
	if j.cfg.ExistingObjects == ExistingReplace {
		all := append(append([]schema.Entry{}, plan.Before...), plan.After...)
		if err := o.replace(ctx, j.dst, all); err != nil {
			return err
		}
	}
	if err := o.all(ctx, j.dst, PhaseStructure, plan.Before); err != nil {
		return err
	}
	return o.err()
}

// fill copies the rows and builds what belongs to single tables. It gives the source free as soon as the rows are in.
func (j *job) fill(ctx context.Context, o *objects, plan *schema.Plan, snap *snapshot, a *anchor,
	copied map[string]pglogrepl.LSN, out func(schema.Name) bool,
) error {
	var wanted []schema.Name
	for _, t := range a.inv.Tables {
		wanted = append(wanted, t.Name)
	}
	dest, err := schema.Read(ctx, j.dst, schema.Selection{Tables: wanted})
	if err != nil {
		return fmt.Errorf("destination: %w", err)
	}
	units, err := j.makeUnits(a.inv, dest, snap.lsn, func(n schema.Name) bool { return !out(n) })
	if err != nil {
		return err
	}
	if err := j.findBlocked(ctx, dest, units); err != nil {
		return err
	}
	var missing, ready []*unit
	for _, u := range units {
		lsn, done := copied[u.name.String()]
		if done {
			u.lsn, ready = lsn, append(ready, u)
		} else {
			missing = append(missing, u)
		}
	}
	j.tables.expect(units)
	loads, err := j.makeLoads(ctx, a.conn, missing)
	if err != nil {
		return err
	}
	if err := j.claimParted(ctx, loads); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	b := newBuilder(o, plan, group)
	defer b.close()
	for _, u := range ready {
		j.tables.copied(u)
		b.start(ctx, u)
	}
	group.Go(func() error {
		defer snap.close()
		defer a.close()
		l := &loader{job: j, snap: snap, copied: func(u *unit) { b.start(ctx, u) }}
		return l.run(ctx, loads)
	})
	if err := group.Wait(); err != nil {
		return err
	}
	if len(j.tables.refused) > 0 {
		return errors.Join(&TablesError{j.tables.refused}, o.err())
	}
	return nil
}

// claimParted claims the units whose rows come in several transactions, before the first of these.
func (j *job) claimParted(ctx context.Context, loads []*load) error {
	claimed := map[*unit]bool{}
	for _, l := range loads {
		if l.alone || claimed[l.unit] {
			continue
		}
		claimed[l.unit] = true
		err := pgx.BeginFunc(ctx, j.dst, func(tx pgx.Tx) error {
			if err := j.claim(ctx, tx, l.unit, false); err != nil {
				return err
			}
			return ledger.Check(ctx, tx, j.cfg.Task, j.fence)
		})
		if err != nil && concernsTable(err) && ctx.Err() == nil {
			l.unit.failed.Store(true)
			j.tables.refuse(l.unit, fmt.Errorf("copy %s: %w", l.unit.name, err))
			continue
		}
		if err != nil {
			return fmt.Errorf("prepare table %s: %w", l.unit.name, err)
		}
	}
	return nil
}

func names(set map[schema.Name]bool) string {
	var list []string
	for n := range set {
		list = append(list, n.String())
	}
	return strings.Join(list, ", ")
}
