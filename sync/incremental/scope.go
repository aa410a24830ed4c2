package incremental

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/ledger"
	"pgsyncd/sync/schema"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
)

// target returns where the changes of a relation go; nil when the task does not want them. tx is where one of them was met.
func (a *applier) target(ctx context.Context, r *relation, tx *transaction) (*target, error) {
	if t, ok := a.targets[r]; ok {
		return t, nil
	}
	t, err := a.resolve(ctx, r, tx)
	if err != nil {
		return nil, err
	}
	a.targets[r] = t
	if t == nil {
		return nil, nil
	}
	r.wanted.Store(true)
	for other, o := range a.targets {
		if o != nil && o.oid == t.oid && other.oid != r.oid {
			o.shared, t.shared = true, true
		}
	}
	return t, nil
}

// resolve looks a relation up in the ledger, the selection and the destination. A relation nobody knows of must not be skipped silently.
// The partitions of the source were read when the stream began; before giving up, they are read again.
func (a *applier) resolve(ctx context.Context, r *relation, tx *transaction) (*target, error) {
	t, err := a.lookUp(ctx, r)
	if t != nil || err != nil {
		return t, err
	}
	all := a.cfg.Plugin == PluginTestDecoding // which sends the changes of all tables
	if all && !r.partition && !a.wanted(r.name) {
		return nil, nil
	}
	if err := a.readPartitions(ctx, tx); err != nil {
		return nil, fmt.Errorf("look for %s: %w", r.name, err)
	}
	t, err = a.lookUp(ctx, r)
	if t != nil || err != nil {
		return t, err
	}
	if !a.wanted(r.name) {
		if all || a.excepted(r.name) {
			return nil, nil
		}
		return nil, permanentf("publication %q has table %s, which this task neither copied nor selects", a.cfg.Publication, r.name)
	}
	if all && len(a.copied) == 0 {
		a.cfg.Logger.Warn("table is left out: the destination does not have it", "table", r.name.String())
		return nil, nil
	}
	if to := a.cfg.Selection.Target(r.name); to != r.name {
		return nil, permanentf("table %s, which is %s in the destination, does not exist there", r.name, to)
	}
	return nil, permanentf("table %s does not exist in the destination", r.name)
}

// lookUp returns nil when the relation is not wanted or the destination has no table for it.
func (a *applier) lookUp(ctx context.Context, r *relation) (*target, error) {
	if !a.wanted(r.name) {
		return nil, nil
	}
	if r.unreadable != "" {
		return nil, permanentf("changes of table %s cannot be read: %s; reset the task", r.name, r.unreadable)
	}
	top, above := a.top(r.name), a.stream.counters.ancestors(r.name)
	if a.cfg.Plugin == PluginTestDecoding && a.cfg.Selection.Where(r.name, above...) != "" {
		return nil, permanentf("test_decoding cannot select the rows of table %s", r.name)
	}
	if err := a.filtered(r.name, above); err != nil {
		return nil, err
	}
	oid, kind, name, err := a.place(ctx, r.name, top)
	if oid == 0 || err != nil {
		return nil, err
	}
	after, _ := a.copiedAt(r.name)
	t := &target{relation: r, oid: oid, name: name, after: after}
	t.root = top != r.name && name == a.cfg.Selection.Target(top)
	if kind == "r" {
		t.only = "ONLY "
	}
	if _, alone := a.copied[ledger.UnitPrefix+a.cfg.Selection.Target(r.name).String()]; alone && top != r.name {
		above = nil // it was attached after it had been copied on its own, with other columns than the tree's
	}
	for _, c := range r.columns {
		plain, taken := a.cfg.Selection.TargetColumn(c.name, r.name, above...)
		t.columns = append(t.columns, targetColumn{plain: plain, omitted: !taken})
	}
	for _, c := range a.cfg.Selection.ColumnRules(r.name, above...) {
		if !slices.ContainsFunc(r.columns, func(own column) bool { return own.name == c.Name }) {
			t.absent = append(t.absent, c)
		}
	}
	return t, a.dst.describe(ctx, t)
}

// place finds the table of the destination that has the rows of a source table: the one that has its name there or, where that is
// no partition of what its root became, that one. A table that was copied on its own keeps its rows, whatever it was attached to
// since. The selection is asked for names, and not the source's catalogs: changes may be of tables that are gone.
func (a *applier) place(ctx context.Context, name, top schema.Name) (oid uint32, kind string, at schema.Name, err error) {
	at = a.cfg.Selection.Target(name)
	oid, kind, _, err = a.dst.findTable(ctx, at)
	if err != nil || name == top {
		return oid, kind, at, err
	}
	root := a.cfg.Selection.Target(top)
	rootOID, rootKind, there, err := a.dst.findTable(ctx, root)
	if err != nil || !there {
		return oid, kind, at, err
	}
	if oid != 0 {
		own, err := a.dst.below(ctx, oid, rootOID, at)
		if err != nil || own || len(a.copied) == 0 {
			return oid, kind, at, err
		}
	}
	return rootOID, rootKind, root, nil
}

// filtered refuses the changes of a partition whose rows the publication does not select, because it was attached after the
// publication had been made. A column that is not selected does no harm: it is left out here.
func (a *applier) filtered(name schema.Name, above []schema.Name) error {
	if len(above) == 0 || len(a.copied) == 0 || a.cfg.Selection.Where(name, above...) == "" {
		return nil
	}
	if _, copied := a.copied[name.String()]; copied {
		return nil
	}
	return permanentf("%w: partition %s was attached to %s after the copy, and its rows are not selected by the condition on that table; "+
		"reset the task", ErrPublication, name, above[len(above)-1])
}

// top is the topmost table of the tree that a table belongs to, of what is selected.
func (a *applier) top(name schema.Name) schema.Name {
	above := a.stream.counters.ancestors(name)
	for i, parent := range above {
		if !a.cfg.Selection.Includes(parent, above[i+1:]...) {
			break
		}
		name = parent
	}
	return name
}

// wanted reports whether a table was copied, on its own or as part of a tree, or in a task that copies nothing is selected. Where
// there are copies, changes of a table without one would fall on rows that are not there.
func (a *applier) wanted(name schema.Name) bool {
	if _, copied := a.copied[name.String()]; copied {
		return true
	}
	_, copied := a.copiedAt(name)
	return (copied || len(a.copied) == 0) && a.cfg.Selection.Includes(name, a.stream.counters.ancestors(name)...)
}

// excepted reports whether a table is a partition of one that is wanted, but not selected with it. What is published are whole trees.
func (a *applier) excepted(name schema.Name) bool {
	return slices.ContainsFunc(a.stream.counters.ancestors(name), a.wanted)
}

// copiedAt returns the position of the copy that a table belongs to. What was copied is recorded under its own name, even if it
// was attached to a partitioned table or detached from one since; a partition that came later belongs to the copy of its tree.
func (a *applier) copiedAt(name schema.Name) (pglogrepl.LSN, bool) {
	for _, unit := range append([]schema.Name{name}, a.stream.counters.ancestors(name)...) {
		if lsn, ok := a.copied[unit.String()]; ok {
			return lsn, true
		}
	}
	return 0, false
}

// commitInterval is the pause between two looks at a transaction that is about to become visible.
const commitInterval = 20 * time.Millisecond

// visible waits until what transactions did can be seen. A commit is in the WAL, and sent, a moment before other sessions see what it
// did, or much longer where it waits for a synchronous standby; until then the transaction holds the lock on its own identifier.
func visible(ctx context.Context, conn *pgx.Conn, xids ...uint32) error {
	texts := make([]string, len(xids))
	for i, xid := range xids {
		texts[i] = strconv.FormatUint(uint64(xid), 10)
	}
	for unseen := true; unseen; {
		err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.locktype = 'transactionid' AND l.granted
			AND l.transactionid::text = ANY ($1))`, texts).Scan(&unseen)
		if err == nil && unseen {
			err = sleep(ctx, commitInterval)
		}
		if err != nil {
			return fmt.Errorf("wait until transactions %s can be seen: %w", brief(strings.Join(texts, ", ")), err)
		}
	}
	return nil
}

// readPartitions reads the partitions of the source anew, those included that the transaction has made.
func (a *applier) readPartitions(ctx context.Context, tx *transaction) error {
	conn, err := a.cfg.Source.Connect(ctx, "pgsyncd "+a.cfg.Task+" source")
	if err != nil {
		return err
	}
	defer endpoint.CloseConn(ctx, conn)
	if err := visible(ctx, conn, tx.xid); err != nil {
		return err
	}
	above, err := readAncestors(ctx, conn, a.src.version)
	if err != nil {
		return err
	}
	a.stream.counters.partitions(above)
	return nil
}
