package incremental

import (
	"context"

	"pgsyncd/sync/schema"

	"github.com/jackc/pglogrepl"
)

// batch is what one round applies: whole transactions, or a piece of one that is too large.
type batch struct {
	changes []change
	end     pglogrepl.LSN // position after the last whole transaction; 0: it ends inside one
	commits int
	last    *transaction // that committed
	reply   bool         // the source waits for a confirmation
	bytes   int          // of the changes
	steps   []step       // see plan
}

// plan divides the batch into steps, once.
func (b *batch) plan() []step {
	if b.steps == nil {
		b.steps = plan(b.changes)
	}
	return b.steps
}

// change is an event that concerns the destination.
type change struct {
	*event
	target    *target
	truncated []*target // by TRUNCATE, all of them
	listed    []*target // those whose table in the destination is truncated, one for each such table
	deletes   []string  // statements for the partitions that the destination does not have
}

// assemble sorts out what has to be applied.
func (a *applier) assemble(ctx context.Context, events []event) (*batch, error) {
	b := &batch{changes: make([]change, 0, len(events))}
	held, seen := a.crew.reach()
	for i := range events {
		e := &events[i]
		switch e.kind {
		case kindBegin:
			// Commit records do not overlap: one that starts before a position has ended there.
			a.tx, a.skip = e.tx, e.tx.start < held
		case kindCommit:
			if a.skip && e.tx.end > held {
				return nil, permanentf("transaction at %s ends at %s, beyond the destination's position %s within it",
					e.tx.start, e.tx.end, held)
			}
			b.commits++
			b.last, b.end = e.tx, max(b.end, e.tx.end, seen)
			a.tx = nil
		case kindPosition:
			b.end, b.reply = max(b.end, e.lsn, seen), b.reply || e.reply
		default:
			if a.skip {
				continue
			}
			e.tx = a.tx
			c, ok, err := a.admit(ctx, e)
			if err != nil {
				return nil, err
			}
			if ok {
				b.changes, b.bytes = append(b.changes, c), b.bytes+e.size
			}
		}
	}
	if a.tx != nil {
		b.end = 0
	}
	return b, nil
}

// admit finds the targets of a change, and leaves out those whose copy already shows it.
func (a *applier) admit(ctx context.Context, e *event) (change, bool, error) {
	c := change{event: e}
	if e.kind != kindTruncate {
		if e.relation.unreadable != "" {
			if after, _ := a.copiedAt(e.relation.name); e.tx.start < after {
				return c, false, nil
			}
		}
		t, err := a.target(ctx, e.relation, e.tx)
		if err != nil || t == nil || e.tx.start < t.after {
			return c, false, err
		}
		if e.kind == kindInsert {
			err = t.allSent(e)
		}
		c.target = t
		return c, err == nil, err
	}
	err := a.admitTruncate(ctx, &c)
	return c, len(c.truncated) > 0, err
}

// tally counts changes by table.
type tally struct {
	rows   int64
	bytes  int // of the messages that brought them
	tables map[*tableCounter]*tableTally
}

type tableTally struct {
	name                                 schema.Name
	inserts, updates, deletes, truncates int64
}

func (t *tally) count(changes []change) {
	for i := range changes {
		c := &changes[i]
		t.rows++
		t.bytes += c.wire()
		if c.kind == kindTruncate {
			for _, target := range c.truncated {
				t.of(target.relation).truncates++
			}
			continue
		}
		n := t.of(c.relation)
		switch c.kind {
		case kindInsert:
			n.inserts++
		case kindUpdate:
			n.updates++
		default:
			n.deletes++
		}
	}
}

func (t *tally) of(r *relation) *tableTally {
	n := t.tables[r.counter]
	if n == nil {
		n = &tableTally{name: r.name}
		if t.tables == nil {
			t.tables = map[*tableCounter]*tableTally{}
		}
		t.tables[r.counter] = n
	}
	return n
}

func (t *tally) report(to Reporter) {
	for counter, n := range t.tables {
		counter.applied.Add(n.inserts + n.updates + n.deletes + n.truncates)
		to.Table(n.name, n.inserts, n.updates, n.deletes, n.truncates)
	}
}
