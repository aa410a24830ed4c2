package fullcopy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/ledger"
	"pgsyncd/sync/schema"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
)

// job is one call of Run.
type job struct {
	cfg Config
	log *slog.Logger

	// Sessions for everything that is done one after the other; never used by two goroutines at once.
	src, dst           *pgx.Conn
	sourceVersion      int
	standby            bool // the source is one
	destinationVersion int
	encoding           string // for both COPY commands; empty where both databases are UTF8 and nothing is converted
	pgDump             string

	fence     int64
	start     pglogrepl.LSN     // where the task's slot begins
	published uint32            // OID of the publication, if this run has made it
	publishes map[uint32]uint32 // and those of its rows of pg_publication_rel, by table
	marks     marks
	replica   atomic.Bool // triggers and foreign keys of the destination do not fire
	tables    *tables
	roles     []string // that owners and privileges are carried for
	rounds    int      // that were begun
}

// Run copies structure and rows. When it fails or ctx ends it can be called again with the same Config, also by another
// process: what the ledger calls finished is not done again. It returns the cause of ctx when that ended, *ObjectsError and
// *TablesError when everything was tried and the destination refused something, *LostError when resuming is impossible.
func Run(ctx context.Context, cfg Config) (Result, error) {
	if err := cfg.validate(); err != nil {
		return Result{}, err
	}
	j := &job{cfg: cfg, log: cfg.Logger, tables: newTables(cfg.Report)}
	defer j.close(ctx)
	result, err := j.run(ctx)
	if ctx.Err() != nil {
		return Result{}, context.Cause(ctx)
	}
	return result, err
}

func (j *job) close(ctx context.Context) {
	endpoint.CloseConn(ctx, j.src)
	endpoint.CloseConn(ctx, j.dst)
}

func (j *job) run(ctx context.Context) (_ Result, err error) {
	j.cfg.Report.Phase(PhaseSnapshot, 0, 0)
	if err := j.open(ctx); err != nil {
		return Result{}, err
	}
	if j.pgDump, _, err = schema.FindPgDump(ctx, j.sourceVersion, j.destinationVersion); err != nil {
		return Result{}, err
	}
	snap, err := j.takeOver(ctx)
	if err != nil {
		return Result{}, err
	}
	if err := j.makeRoles(ctx); err != nil {
		if snap != nil {
			snap.close(ctx)
		}
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
	result := Result{HighestLSN: j.start, Unsettled: !j.settled(copied)}
	for _, lsn := range copied {
		result.HighestLSN = max(result.HighestLSN, lsn)
	}
	return result, nil
}

// makeRoles has the roles made that the structure names.
func (j *job) makeRoles(ctx context.Context) (err error) {
	if j.cfg.Roles == nil {
		return nil
	}
	j.cfg.Report.Phase(PhaseStructure+": roles", 0, 0)
	if j.roles, err = j.cfg.Roles(ctx, j.src, j.dst); err != nil {
		return fmt.Errorf("make roles: %w", err)
	}
	return nil
}

// settled tells whether the tables fit together: all were copied under one snapshot, or the stream has since brought them to
// one state. A task without a stream has nothing that could bring them there.
func (j *job) settled(copied map[string]pglogrepl.LSN) bool {
	positions := map[pglogrepl.LSN]bool{}
	for _, lsn := range copied {
		if lsn > j.start {
			positions[lsn] = true
		} else {
			positions[0] = true
		}
	}
	return len(positions) < 2
}

// open connects to both sides and looks what they are.
func (j *job) open(ctx context.Context) (err error) {
	if j.src, j.dst, err = j.connectBoth(ctx); err != nil {
		return err
	}
	if j.sourceVersion, err = schema.ServerVersion(ctx, j.src); err != nil {
		return fmt.Errorf("source: %w", err)
	}
	if err := j.src.QueryRow(ctx, "SELECT pg_catalog.pg_is_in_recovery()").Scan(&j.standby); err != nil {
		return fmt.Errorf("source: %w", err)
	}
	if j.destinationVersion, err = schema.ServerVersion(ctx, j.dst); err != nil {
		return fmt.Errorf("destination: %w", err)
	}
	theirs, ours := j.src.PgConn().ParameterStatus("server_encoding"), j.dst.PgConn().ParameterStatus("server_encoding")
	switch {
	case theirs == "UTF8" && ours == "UTF8":
	case theirs != ours && (theirs == "SQL_ASCII" || ours == "SQL_ASCII"):
		j.encoding = "UTF8" // as the stream has it: what is of no known encoding must not come in two
	default:
		j.encoding = ours // one conversion, by the source, and none at all where both are the same
	}
	if j.encoding != "" && j.cfg.Format == FormatBinary {
		return fmt.Errorf("binary format needs UTF8 on both sides, not %s and %s", theirs, ours)
	}
	return nil
}

// round copies what is not copied yet under one snapshot. It asks for another round when tables were changed before they
// could be locked, or gave way to somebody who waits for them. snap is nil when the round has to make its own.
func (j *job) round(ctx context.Context, snap *snapshot) (again bool, err error) {
	copied, err := ledger.Copied(ctx, j.dst, j.cfg.Task)
	var early *early
	if j.rounds++; err == nil && j.rounds > hurryAfter {
		early, err = j.dumpEarly(ctx)
	}
	if err == nil && snap == nil {
		snap, err = j.freshSnapshot(ctx, copied)
	}
	if err != nil {
		if snap != nil {
			snap.close(ctx)
		}
		return false, err
	}
	defer snap.close(ctx)
	a, err := j.newAnchor(ctx, snap)
	if err != nil {
		return false, err
	}
	defer a.close(ctx)
	// pg_dump locks the same tables and has to be done before: behind whoever waits for the anchor to let go, it would wait for
	// ever. What it says of a table that is gone by now is not heard if that is why it failed.
	archive, plan, dumpErr := j.dump(ctx, early, snap.name, a.inv)
	if err := j.holdTables(ctx, a); err != nil {
		return false, err
	}
	left, retry := a.postponed(copied)
	if len(left) > 0 {
		j.log.Info("tables changed before they could be locked", "tables", names(left))
	}
	if retry {
		return true, nil
	}
	if dumpErr != nil {
		return false, dumpErr
	}
	maps.DeleteFunc(a.late, func(n schema.Name, _ bool) bool { _, excluded := plan.Excludes(n); return excluded })
	j.tellLeftOut(plan, a.late)
	out := func(n schema.Name) bool { _, excluded := plan.Excludes(n); return excluded || left[n] || a.late[n] }
	l, err := j.readLayout(ctx, a.inv)
	if err != nil {
		return false, err
	}
	o := j.newObjects(archive, plan, out, l)
	if err := j.createBefore(ctx, o, archive, plan, a.inv); err != nil {
		return false, err
	}
	if err := j.fill(ctx, o, plan, snap, a, copied, out); err != nil {
		return false, err
	}
	if len(left) > 0 || j.tables.yielded {
		return true, nil
	}
	return false, j.conclude(ctx, o, archive, plan, a.inv)
}

// conclude does what comes after the rows. Tables that could not be copied do not keep the rest from being tried, so that all
// there is to be mended is known at once.
func (j *job) conclude(ctx context.Context, o *objects, archive *schema.Archive, plan *schema.Plan, inv *schema.Inventory) error {
	copied, err := ledger.Copied(ctx, j.dst, j.cfg.Task)
	if err != nil {
		return err
	}
	if incomplete := j.tables.incomplete(); len(incomplete) > 0 {
		o.postpone(archive, inv, incomplete)
	}
	if j.settled(copied) {
		err = j.finish(ctx, o, plan, inv)
	} else {
		err = o.err()
	}
	if objects := (*ObjectsError)(nil); len(j.tables.refused) > 0 && (err == nil || errors.As(err, &objects)) {
		return errors.Join(&TablesError{j.tables.refused}, err)
	}
	return err
}

// freshSnapshot makes the snapshot of a resumed task or of a further round. When no rows are to be copied it needs no
// position.
func (j *job) freshSnapshot(ctx context.Context, copied map[string]pglogrepl.LSN) (*snapshot, error) {
	if j.cfg.incremental() {
		inv, err := j.readSource(ctx, j.src)
		if err != nil {
			return nil, err
		}
		for i := range inv.Tables {
			if _, ok := copied[unitKey(topmost(inv, &inv.Tables[i]).Target)]; !ok {
				return j.exportSlot(ctx, j.cfg.Slot+copySlotSuffix, false)
			}
		}
	}
	return j.exportPlain(ctx)
}

// dump reads the structure under a snapshot, unless it was read early and has not changed until that was taken.
func (j *job) dump(ctx context.Context, e *early, snapshot string, inv *schema.Inventory) (*schema.Archive, *schema.Plan, error) {
	var archive *schema.Archive
	if e != nil && e.inv.SameStructure(inv) {
		archive = e.archive
	} else {
		var err error
		if archive, err = j.readStructure(ctx, snapshot, inv); err != nil {
			return nil, nil, err
		}
	}
	plan, err := archive.Plan(inv, j.cfg.Selection, schema.PlanOptions{Indexes: j.cfg.Indexes, Roles: j.roles})
	return archive, plan, err
}

func (j *job) readStructure(ctx context.Context, snapshot string, inv *schema.Inventory) (*schema.Archive, error) {
	j.cfg.Report.Phase(PhaseStructure, 0, 0)
	cfg := schema.DumpConfig{Endpoint: j.cfg.Source, PgDump: j.pgDump, Snapshot: snapshot, WorkDir: j.cfg.WorkDir}
	cfg.Restrict(j.cfg.Selection, inv)
	return schema.Dump(ctx, cfg)
}

// hurryAfter is after how many rounds pg_dump is done before the snapshot. A table that somebody empties every few seconds is copied in a
// round only if nobody does between the snapshot and the lock, and that is when pg_dump takes its time otherwise.
const hurryAfter = 2

// early is the structure as it was a moment before a round's snapshot.
type early struct {
	archive *schema.Archive
	inv     *schema.Inventory
}

// dumpEarly returns nil where pg_dump failed, which it does if something is dropped meanwhile; it is tried again under the snapshot then.
func (j *job) dumpEarly(ctx context.Context) (*early, error) {
	inv, err := j.readSource(ctx, j.src)
	if err != nil {
		return nil, err
	}
	archive, err := j.readStructure(ctx, "", inv)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		j.log.Info("structure is read under the snapshot", "cause", err)
		return nil, nil //nolint:nilnil // as said
	}
	return &early{archive, inv}, nil
}

// createBefore makes everything that comes before the rows. What is refused is remembered; only what depends on it has to wait.
func (j *job) createBefore(ctx context.Context, o *objects, archive *schema.Archive, plan *schema.Plan, inv *schema.Inventory) error {
	if _, err := j.dst.Exec(ctx, archive.SessionSQL()); err != nil {
		return fmt.Errorf("prepare a session on the destination: %w", err)
	}
	if j.cfg.ExistingObjects == ExistingReplace {
		all := append(append([]schema.Entry{}, plan.Before...), plan.After...)
		if err := o.replace(ctx, j.dst, inv, all); err != nil {
			return err
		}
	}
	return o.all(ctx, j.dst, PhaseStructure, plan.Before)
}

// tellLeftOut reports what is in the source and will not be in the destination. A table may be among it only because of what it
// depends on, so that nobody expects it.
func (j *job) tellLeftOut(plan *schema.Plan, late map[schema.Name]bool) {
	list := slices.Clone(plan.Excluded)
	for n := range late {
		list = append(list, schema.Excluded{Kind: "TABLE", Name: n, Reason: "was created after the task began"})
	}
	for _, x := range list {
		kind, name := x.Object()
		j.cfg.Report.Object(ObjectProgress{Type: kind, Name: name, State: ObjectLeftOut, Error: x.Reason})
		if x.Kind == "TABLE" {
			j.log.Warn("table does not belong to the task", "table", x.Name.String(), "reason", x.Reason)
		}
	}
}

func names(set map[schema.Name]bool) string {
	var list []string
	for n := range set {
		list = append(list, n.String())
	}
	return strings.Join(list, ", ")
}
