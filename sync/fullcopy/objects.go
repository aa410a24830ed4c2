package fullcopy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/ledger"
	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
)

// objects creates the entries of one archive and remembers which the destination refused.
type objects struct {
	*job
	skip    map[int]bool    // entries left for a later round, or for good, with all that depends on them
	merged  map[string]bool // keys of entries whose object another entry makes
	keys    map[int]string  // of all entries
	partial bool            // rows of some tables are missing

	mu       sync.Mutex
	failed   map[int]error
	lost     map[schema.Name]string // tables and sequences among them, with their kind
	failures []ObjectFailure
}

// newObjects leaves out the tables that left accepts and the partitions that the layout does not want, with all that depends
// on them, the indexes of tables that the destination divides in its own way, and what another entry makes as well.
func (j *job) newObjects(archive *schema.Archive, plan *schema.Plan, left func(schema.Name) bool, l layout) *objects {
	o := &objects{job: j, skip: map[int]bool{}, merged: map[string]bool{}, keys: map[int]string{}, failed: map[int]error{}, lost: map[schema.Name]string{}}
	// The archive is in order of dependency.
	for _, e := range archive.Entries {
		o.keys[e.ID] = e.Key()
		name := schema.Name{Schema: e.Namespace, Name: e.Tag}
		gone := e.Desc == "TABLE" && (left(name) || l.absent[name])
		if gone || slices.ContainsFunc(e.Depends, func(id int) bool { return o.skip[id] }) {
			o.skip[e.ID] = true
		}
	}
	o.merge(plan)
	for _, e := range plan.After {
		if l.own[e.Table] && (e.Desc == "INDEX" || e.Desc == "CONSTRAINT") {
			o.skip[e.ID] = true
		}
	}
	for _, e := range plan.After { // an index is attached only where both are made
		if e.Desc == "INDEX ATTACH" && slices.ContainsFunc(e.Depends, func(id int) bool { return o.skip[id] }) {
			o.skip[e.ID] = true
		}
	}
	return o
}

// merge finds the objects that are made by the statement of another one, which happens when several schemas become one.
func (o *objects) merge(plan *schema.Plan) {
	if !o.cfg.Selection.Maps() {
		return
	}
	seen := map[string]bool{}
	for _, e := range slices.Concat(plan.Before, plan.Indexes, plan.Constraints, plan.After) {
		statement := e.Desc + " " + e.Definition
		if seen[statement] {
			o.merged[e.Key()] = true
		}
		seen[statement] = !o.skip[e.ID]
	}
}

// wanted leaves out what is skipped.
func (o *objects) wanted(entries []schema.Entry) []schema.Entry {
	return slices.DeleteFunc(slices.Clone(entries), func(e schema.Entry) bool {
		return o.skip[e.ID] || o.merged[e.Key()] || o.foreign(e)
	})
}

// foreign tells whether an entry would change owner or privileges of an object that existed before the task. Schemas keep their
// owner too, but what is in them has to be reached.
func (o *objects) foreign(e schema.Entry) bool {
	return (e.Desc == "OWNER" || e.Desc == "ACL") && slices.ContainsFunc(e.Depends, func(id int) bool {
		key := o.keys[id]
		return o.marks.has(existedPrefix+key) && (e.Desc == "OWNER" || !strings.HasPrefix(key, "SCHEMA "))
	})
}

// err is an *ObjectsError when something was refused.
func (o *objects) err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.failures) == 0 {
		return nil
	}
	failures := slices.Clone(o.failures)
	slices.SortStableFunc(failures, func(a, b ObjectFailure) int {
		switch {
		case a.Dependent == b.Dependent:
			return 0
		case a.Dependent:
			return 1
		}
		return -1
	})
	return &ObjectsError{failures}
}

// broken are the destination tables whose structure is not complete, with the reason. Rows cannot wait for less, and need not
// wait for more: what a column's default or another table lacks is no concern of theirs.
func (o *objects) broken(plan *schema.Plan, inv *schema.Inventory) map[schema.Name]error {
	units := map[schema.Name]error{}
	for _, e := range o.wanted(plan.Before) {
		if t := inv.Table(e.Table); t != nil && (e.Desc == "TABLE" || e.Desc == "TABLE ATTACH") {
			if err := o.failure(e); err != nil {
				units[topmost(inv, t).Target] = fmt.Errorf("%s could not be made: %w", t.Target, err)
			}
		}
	}
	return units
}

// postpone leaves to a further run what needs rows that are not there: whatever depends on a table of the units, everything
// that reads tables in ways no dependency tells of, and event triggers, which would fire on what is still to be made.
func (o *objects) postpone(archive *schema.Archive, inv *schema.Inventory, incomplete map[schema.Name]bool) {
	for _, e := range archive.Entries {
		t := inv.Table(schema.Name{Schema: e.Namespace, Name: e.Tag})
		waits := e.Desc == "TABLE" && t != nil && incomplete[topmost(inv, t).Target]
		if waits || e.Desc == "EVENT TRIGGER" || slices.ContainsFunc(e.Depends, func(id int) bool { return o.skip[id] }) {
			o.skip[e.ID] = true
		}
	}
	o.partial = true
}

// existedPrefix marks objects that are done with because they existed, and that are not the task's own.
const existedPrefix = "EXISTED "

// create executes one entry, unless that was done before, in one transaction with the mark that it is done. A refusal is
// remembered; the error is about anything else.
func (o *objects) create(ctx context.Context, conn *pgx.Conn, e schema.Entry) error {
	if o.marks.has(e.Key()) || o.marks.has(existedPrefix+e.Key()) {
		return nil
	}
	progress := progressOf(e)
	var err error
	if reason := o.obstacle(e); reason != "" {
		err = refusal(reason)
	} else {
		err = o.once(ctx, conn, e.Key(), e.Definition)
	}
	switch {
	case err == nil:
	case o.existed(e, err):
		progress.State = ObjectExisted
		if err := o.once(ctx, conn, existedPrefix+e.Key(), ""); err != nil {
			return err
		}
	case concernsTable(err):
		progress.State, progress.Error = ObjectFailed, withDetail(err)
		o.fail(e, progress, err)
	default:
		return fmt.Errorf("create %s %s: %w", e.Desc, progress.Name, err)
	}
	o.cfg.Report.Object(progress)
	return nil
}

// progressOf is what is reported of an entry that is made.
func progressOf(e schema.Entry) ObjectProgress {
	p := ObjectProgress{Target: e.Target, State: ObjectCreated, Statement: e.Definition}
	p.Type, p.Name = e.Object()
	if p.Target == "" {
		p.Target = p.Name
	}
	return p
}

// obstacle says why an entry is not even tried, or is empty. What it needs and could not be made may be there all the same, but
// then it is something else of that name.
func (o *objects) obstacle(e schema.Entry) string {
	if e.Refused != "" {
		return e.Refused
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, id := range e.Depends {
		if o.failed[id] != nil {
			return "it needs " + o.keys[id] + ", which could not be made"
		}
	}
	// Not everything that belongs to a table says so.
	for _, n := range []schema.Name{e.Table, {Schema: e.Namespace, Name: e.Tag}} {
		if kind := o.lost[n]; kind != "" && e.Desc != "TABLE" && e.Desc != "SEQUENCE" {
			return "it needs " + kind + " " + n.String() + ", which could not be made"
		}
	}
	return ""
}

// refusal is why an entry cannot be made under its name in the destination.
type refusal string

func (r refusal) Error() string { return string(r) }

// fail remembers that an entry was refused.
func (o *objects) fail(e schema.Entry, p ObjectProgress, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var untried refusal
	dependent := e.Refused == "" && errors.As(err, &untried) || slices.ContainsFunc(e.Depends, func(id int) bool { return o.failed[id] != nil })
	o.failed[e.ID] = err
	if e.Desc == "TABLE" || e.Desc == "SEQUENCE" {
		o.lost[schema.Name{Schema: e.Namespace, Name: e.Tag}] = e.Desc
	}
	o.failures = append(o.failures, ObjectFailure{p.Type, p.Name, e.Definition, err, dependent})
}

// failure is why an entry was refused, or nil.
func (o *objects) failure(e schema.Entry) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.failed[e.ID]
}

// existed tells whether an entry failed only because its object is there already and the task takes it as it is. Schemas
// are taken in any case: they are shared places, not data.
func (o *objects) existed(e schema.Entry, err error) bool {
	code := endpoint.SQLState(err)
	// What a superuser has installed cannot be commented on by others.
	if code == "42P06" || code == "42501" && e.Desc == "COMMENT" && strings.HasPrefix(e.Tag, "EXTENSION ") {
		return true
	}
	if o.cfg.ExistingObjects != ExistingUse && o.cfg.ExistingObjects != ExistingAppend {
		return false
	}
	switch code {
	case "42P07", "42710", "42723": // relation, object, function
		return true
	case "42P16": // a second primary key
		return e.Desc == "CONSTRAINT"
	case "42809": // attached already
		return e.Desc == "TABLE ATTACH"
	case "55000": // an identity column already, or an index attached already
		return e.Desc == "SEQUENCE" || e.Desc == "INDEX ATTACH"
	}
	return false
}

// kept are the kinds that replace leaves alone: shared places, and what goes with its table.
var kept = map[string]bool{
	"SCHEMA": true, "EXTENSION": true, "COMMENT": true, "SECURITY LABEL": true, "TABLE ATTACH": true, "INDEX ATTACH": true, "INDEX": true,
	"CONSTRAINT": true, "CHECK CONSTRAINT": true, "SEQUENCE OWNED BY": true, "ROW SECURITY": true, "POLICY": true, "RULE": true, "TRIGGER": true,
}

// replace drops whatever stands in the way of the entries that are not created yet.
func (o *objects) replace(ctx context.Context, conn *pgx.Conn, inv *schema.Inventory, entries []schema.Entry) error {
	return o.drop(ctx, conn, inv, entries, func(e schema.Entry) bool { return !o.marks.has(e.Key()) }, nil)
}

// drop drops what has the names of entries that which accepts, the last first, all in one transaction, at whose end it calls then.
// Nothing that others depend on is dropped, and no table that another task puts rows into.
func (o *objects) drop(ctx context.Context, conn *pgx.Conn, inv *schema.Inventory, entries []schema.Entry, which func(schema.Entry) bool,
	then func(pgx.Tx) error,
) error {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	claimed, err := o.claimedByOthers(ctx, tx)
	if err != nil {
		return err
	}
	for _, e := range slices.Backward(o.wanted(entries)) {
		if e.Drop == "" || e.Refused != "" || kept[e.Desc] || !which(e) {
			continue
		}
		name := schema.Name{Schema: e.Namespace, Name: e.Tag}
		if t := inv.Table(name); e.Desc == "TABLE" && t != nil && claimed[claimKey(t.Target)] {
			o.failures = append(o.failures, ObjectFailure{e.Desc, progressOf(e).Name, e.Drop, errForeignRows(t.Target), false})
			continue
		}
		err := pgx.BeginFunc(ctx, tx, func(sub pgx.Tx) error {
			_, err := sub.Exec(ctx, e.Drop)
			return err
		})
		switch code := endpoint.SQLState(err); {
		case err == nil, code == "42P01", code == "42883", code == "42704", code == "42703", code == "3F000": // not there
		case e.Desc == "DEFAULT" && concernsTable(err): // goes with its table; dropped before for the sake of its sequence
		case concernsTable(err):
			err = fmt.Errorf("drop the existing one: %w", err)
			o.failures = append(o.failures, ObjectFailure{e.Desc, progressOf(e).Name, e.Drop, err, false})
		default:
			return fmt.Errorf("drop %s %s: %w", e.Desc, progressOf(e).Name, err)
		}
	}
	if err := o.err(); err != nil {
		return errors.Join(err, tx.Rollback(ctx))
	}
	if err := ledger.Check(ctx, tx, o.cfg.Task, o.fence); err != nil {
		return err
	}
	if then != nil {
		if err := then(tx); err != nil {
			return err
		}
	}
	return tx.Commit(ctx)
}

// marks are the keys of the ledger's objects that are done.
type marks struct {
	mu   sync.Mutex
	keys map[string]bool
}

func (m *marks) has(key string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.keys[key]
}

func (m *marks) add(keys ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range keys {
		m.keys[key] = true
	}
}
