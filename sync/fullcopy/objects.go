package fullcopy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"pgsyncd/sync/ledger"
	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
)

// objects creates the entries of one archive and remembers which the destination refused.
type objects struct {
	*job
	skip map[int]bool // entries left for a later round, or for good

	mu       sync.Mutex
	failed   map[int]bool
	failures []ObjectFailure
}

// newObjects leaves out the tables that left accepts and the partitions that the layout does not want, with all that depends
// on them, and the indexes of tables that the destination divides in its own way.
func (j *job) newObjects(archive *schema.Archive, plan *schema.Plan, left func(schema.Name) bool, l layout) *objects {
	o := &objects{job: j, skip: map[int]bool{}, failed: map[int]bool{}}
	indexes := map[int]bool{}
	// The archive is in order of dependency.
	for _, e := range archive.Entries {
		indexes[e.ID] = e.Desc == "INDEX" || e.Desc == "CONSTRAINT"
		name := schema.Name{Schema: e.Namespace, Name: e.Tag}
		gone := e.Desc == "TABLE" && (left(name) || l.absent[name])
		if gone || slices.ContainsFunc(e.Depends, func(id int) bool { return o.skip[id] }) {
			o.skip[e.ID] = true
		}
	}
	for _, e := range plan.After {
		if l.own[e.Table] && (e.Desc == "INDEX" || e.Desc == "CONSTRAINT") {
			o.skip[e.ID] = true
		}
	}
	// An index is attached only where both are made. One above a table that is not selected is not even in the archive.
	for _, e := range plan.After {
		if e.Desc != "INDEX ATTACH" {
			continue
		}
		made := map[int]bool{}
		for _, id := range e.Depends {
			if indexes[id] && !o.skip[id] {
				made[id] = true
			}
		}
		if len(made) < 2 {
			o.skip[e.ID] = true
		}
	}
	return o
}

// wanted leaves out what is skipped.
func (o *objects) wanted(entries []schema.Entry) []schema.Entry {
	return slices.DeleteFunc(slices.Clone(entries), func(e schema.Entry) bool { return o.skip[e.ID] })
}

// all creates entries one after the other.
func (o *objects) all(ctx context.Context, conn *pgx.Conn, phase string, entries []schema.Entry) error {
	entries = o.wanted(entries)
	for i, e := range entries {
		o.cfg.Report.Phase(phase, i, len(entries))
		if err := o.create(ctx, conn, e); err != nil {
			return err
		}
	}
	o.cfg.Report.Phase(phase, len(entries), len(entries))
	return nil
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

// existedPrefix marks objects that are done with because they existed, and that are not the task's own.
const existedPrefix = "EXISTED "

// create executes one entry, unless that was done before, in one transaction with the mark that it is done. A refusal is
// remembered; the error is about anything else.
func (o *objects) create(ctx context.Context, conn *pgx.Conn, e schema.Entry) error {
	if o.marks.has(e.Key()) || o.marks.has(existedPrefix+e.Key()) {
		return nil
	}
	err := o.once(ctx, conn, e.Key(), e.Definition)
	progress := ObjectProgress{
		Type: e.Desc, Name: schema.Name{Schema: e.Namespace, Name: e.Tag}.String(), State: ObjectCreated, Statement: e.Definition,
	}
	switch {
	case err == nil:
	case o.existed(e, err):
		progress.State = ObjectExisted
		if err := o.once(ctx, conn, existedPrefix+e.Key(), ""); err != nil {
			return err
		}
	case concernsTable(err):
		progress.State, progress.Error = ObjectFailed, err.Error()
		o.mu.Lock()
		dependent := slices.ContainsFunc(e.Depends, func(id int) bool { return o.failed[id] })
		o.failed[e.ID] = true
		o.failures = append(o.failures, ObjectFailure{e.Desc, progress.Name, e.Definition, err, dependent})
		o.mu.Unlock()
	default:
		return fmt.Errorf("create %s %s: %w", e.Desc, progress.Name, err)
	}
	o.cfg.Report.Object(progress)
	return nil
}

// once executes sql, which may be empty, and marks key as done.
func (j *job) once(ctx context.Context, conn *pgx.Conn, key, sql string) error {
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if sql != "" {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		if err := ledger.Check(ctx, tx, j.cfg.Task, j.fence); err != nil {
			return err
		}
		return ledger.MarkObject(ctx, tx, j.cfg.Task, key)
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err == nil {
		j.marks.add(key)
	}
	return err
}

// existed tells whether an entry failed only because its object is there already and the task takes it as it is. Schemas
// are taken in any case: they are shared places, not data.
func (o *objects) existed(e schema.Entry, err error) bool {
	code := sqlState(err)
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

// replace drops whatever stands in the way of the entries that are not created yet, the last first, all in one transaction.
// Nothing that others depend on is dropped, and no table that another task puts rows into.
func (o *objects) replace(ctx context.Context, conn *pgx.Conn, entries []schema.Entry) error {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	claimed, err := o.claimedByOthers(ctx, tx)
	if err != nil {
		return err
	}
	for _, e := range slices.Backward(o.wanted(entries)) {
		if e.Drop == "" || kept[e.Desc] || o.marks.has(e.Key()) {
			continue
		}
		name := schema.Name{Schema: e.Namespace, Name: e.Tag}
		if e.Desc == "TABLE" && claimed[claimKey(name)] {
			o.failures = append(o.failures, ObjectFailure{e.Desc, name.String(), e.Drop, errForeignRows(name), false})
			continue
		}
		err := pgx.BeginFunc(ctx, tx, func(sub pgx.Tx) error {
			_, err := sub.Exec(ctx, e.Drop)
			return err
		})
		switch code := sqlState(err); {
		case err == nil, code == "42P01", code == "42883", code == "42704", code == "42703", code == "3F000": // not there
		case e.Desc == "DEFAULT" && concernsTable(err): // goes with its table; dropped before for the sake of its sequence
		case concernsTable(err):
			err = fmt.Errorf("drop the existing one: %w", err)
			o.failures = append(o.failures, ObjectFailure{e.Desc, name.String(), e.Drop, err, false})
		default:
			return fmt.Errorf("drop %s %s: %w", e.Desc, name, err)
		}
	}
	if err := o.err(); err != nil {
		return errors.Join(err, tx.Rollback(ctx))
	}
	if err := ledger.Check(ctx, tx, o.cfg.Task, o.fence); err != nil {
		return err
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

func (m *marks) add(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keys[key] = true
}
