package fullcopy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/schema"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
)

// anchor is a source session that sees the snapshot and holds ACCESS SHARE on every table, so that none can be rewritten,
// truncated, altered or dropped until it is closed.
type anchor struct {
	conn *pgx.Conn
	inv  *schema.Inventory // as the snapshot sees it
	// changed are the tables that something was done to between the snapshot and the lock. A rewritten table reads as empty
	// under the older snapshot, and the stream would not bring its rows either.
	changed map[schema.Name]bool
	// gone are those of them that have been dropped, renamed or moved to another schema.
	gone map[schema.Name]bool
	// late are the tables that did not exist when the publication was made; they do not belong to the task.
	late map[schema.Name]bool
}

func (a *anchor) close(ctx context.Context) { endpoint.CloseConn(ctx, a.conn) }

// newAnchor imports the snapshot and takes the inventory.
func (j *job) newAnchor(ctx context.Context, snap *snapshot) (_ *anchor, err error) {
	conn, err := j.cfg.Source.Connect(ctx, j.cfg.application())
	if err != nil {
		return nil, err
	}
	a := &anchor{conn: conn, changed: map[schema.Name]bool{}, gone: map[schema.Name]bool{}, late: map[schema.Name]bool{}}
	defer func() {
		if err != nil {
			a.close(ctx)
		}
	}()
	if err := snap.begin(ctx, conn); err != nil {
		return nil, err
	}
	if err := j.settle(ctx, conn); err != nil {
		return nil, err
	}
	// Reading a sequence locks it until the end of the transaction, or of a savepoint. Somebody who has locked a table and waits
	// for its sequence would be waited for by pg_dump, and pg_dump by this one.
	if _, err := conn.Exec(ctx, "SAVEPOINT inventory"); err != nil {
		return nil, fmt.Errorf("read the source: %w", err)
	}
	if a.inv, err = j.readSource(ctx, conn); err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, "ROLLBACK TO SAVEPOINT inventory"); err != nil {
		return nil, fmt.Errorf("read the source: %w", err)
	}
	if j.cfg.Publication != "" {
		if err := a.findLate(ctx, j.cfg.Publication); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// holdTables takes the locks, and finds out which came too late.
func (j *job) holdTables(ctx context.Context, a *anchor) error {
	j.cfg.Report.Phase(PhaseSnapshot+": locking tables", 0, len(a.inv.Tables))
	var tables []*schema.Table
	for i := range a.inv.Tables {
		tables = append(tables, &a.inv.Tables[i])
	}
	if err := a.lock(ctx, tables); err != nil {
		return err
	}
	return a.findChanged(ctx, j.src)
}

// readSource takes the inventory of what is to be copied.
func (j *job) readSource(ctx context.Context, conn *pgx.Conn) (*schema.Inventory, error) {
	inv, err := schema.Read(ctx, conn, j.cfg.Selection)
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	return inv, j.cfg.Selection.Validate(inv)
}

// lockBatch is how many tables one LOCK TABLE names.
const lockBatch = 200

// lock takes the locks. Tables that exist no more are left to findChanged.
func (a *anchor) lock(ctx context.Context, tables []*schema.Table) error {
	for batch := range slices.Chunk(tables, lockBatch) {
		names := make([]string, len(batch))
		for i, t := range batch {
			names[i] = "ONLY " + t.Name.String()
		}
		err := a.savepoint(ctx, "LOCK TABLE "+strings.Join(names, ", ")+" IN ACCESS SHARE MODE")
		switch endpoint.SQLState(err) {
		case "42P01", "3F000", "42809": // one was dropped, or replaced by something that is no table
			if err = nil; len(batch) > 1 {
				err = errors.Join(a.lock(ctx, batch[:len(batch)/2]), a.lock(ctx, batch[len(batch)/2:]))
			}
		}
		if err != nil {
			return fmt.Errorf("lock tables of the source from %s on: %w", batch[0].Name, err)
		}
	}
	return nil
}

// savepoint runs a statement whose failure leaves the transaction as it was.
func (a *anchor) savepoint(ctx context.Context, sql string) error {
	if _, err := a.conn.Exec(ctx, "SAVEPOINT attempt"); err != nil {
		return err
	}
	_, err := a.conn.Exec(ctx, sql)
	if err != nil {
		if _, err := a.conn.Exec(ctx, "ROLLBACK TO SAVEPOINT attempt"); err != nil {
			return err
		}
	}
	if _, err := a.conn.Exec(ctx, "RELEASE SAVEPOINT attempt"); err != nil {
		return err
	}
	return err
}

// stateSQL describes what must not have changed: name, file node, columns and place among the partitions.
const stateSQL = `
SELECT c.oid, concat_ws('.', quote_ident(n.nspname), quote_ident(c.relname)), concat_ws(' ', n.oid, c.relkind, c.relfilenode,
       (SELECT string_agg(concat_ws(' ', a.attnum, quote_ident(a.attname), a.atttypid, a.atttypmod, a.attnotnull, a.attisdropped), ',' ORDER BY a.attnum)
          FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0),
       (SELECT string_agg(i.inhparent::text, ',' ORDER BY i.inhseqno) FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid))
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = ANY ($1)`

type tableState struct{ name, rest string }

func tableStates(ctx context.Context, conn *pgx.Conn, oids []uint32) (map[uint32]tableState, error) {
	rows, err := conn.Query(ctx, stateSQL, oids)
	if err != nil {
		return nil, err
	}
	states := make(map[uint32]tableState, len(oids))
	var oid uint32
	var s tableState
	_, err = pgx.ForEachRow(rows, []any{&oid, &s.name, &s.rest}, func() error {
		states[oid] = s
		return nil
	})
	return states, err
}

// findChanged compares what the snapshot shows with what is there now that the locks are held; now is read by a session
// that takes a snapshot of its own.
func (a *anchor) findChanged(ctx context.Context, current *pgx.Conn) error {
	oids := make([]uint32, len(a.inv.Tables))
	for i, t := range a.inv.Tables {
		oids[i] = t.OID
	}
	before, err := tableStates(ctx, a.conn, oids)
	if err != nil {
		return fmt.Errorf("read the tables' state under the snapshot: %w", err)
	}
	now, err := tableStates(ctx, current, oids)
	if err != nil {
		return fmt.Errorf("read the tables' present state: %w", err)
	}
	for _, t := range a.inv.Tables {
		a.changed[t.Name] = before[t.OID] != now[t.OID]
		a.gone[t.Name] = before[t.OID].name != now[t.OID].name
	}
	return nil
}

// publishedSQL lists what a publication names, as the snapshot of the session sees it.
const publishedSQL = `
SELECT n.nspname, c.relname
  FROM pg_catalog.pg_publication p
  JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid
  JOIN pg_catalog.pg_class c ON c.oid = r.prrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE p.pubname = $1`

// findLate finds the tables whose changes the publication does not carry. Partitions come with their parents.
func (a *anchor) findLate(ctx context.Context, publication string) error {
	rows, err := a.conn.Query(ctx, publishedSQL, publication)
	if err != nil {
		return fmt.Errorf("read publication %s: %w", publication, err)
	}
	published := map[schema.Name]bool{}
	var n schema.Name
	if _, err := pgx.ForEachRow(rows, []any{&n.Schema, &n.Name}, func() error { published[n] = true; return nil }); err != nil {
		return fmt.Errorf("read publication %s: %w", publication, err)
	}
	for i := range a.inv.Tables {
		t := &a.inv.Tables[i]
		// Before 13 partitioned tables are published through their leaves.
		if t.Unlogged || t.Kind == schema.KindPartitioned && a.inv.Version < 130000 {
			continue
		}
		if !slices.ContainsFunc(ancestry(a.inv, t), func(n schema.Name) bool { return published[n] }) {
			a.late[t.Name] = true
		}
	}
	return nil
}

// ancestry is the table itself and the partitioned tables above it that belong to the inventory, upwards.
func ancestry(inv *schema.Inventory, t *schema.Table) []schema.Name {
	names := []schema.Name{t.Name}
	for t.Partition && len(t.Parents) > 0 {
		if t = inv.Table(t.Parents[0]); t == nil {
			break
		}
		names = append(names, t.Name)
	}
	return names
}

// postponed returns the tables whose units are left to a further round, because they are not copied yet and something in them
// has changed. retry asks for that round at once: pg_dump would fail on a table that is gone or has another name.
func (a *anchor) postponed(copied map[string]pglogrepl.LSN) (left map[schema.Name]bool, retry bool) {
	units := map[schema.Name]bool{}
	for i := range a.inv.Tables {
		t := &a.inv.Tables[i]
		name := topmost(a.inv, t).Target
		if _, done := copied[unitKey(name)]; !done && a.changed[t.Name] {
			units[name] = true
		}
		retry = retry || a.gone[t.Name]
	}
	left = map[schema.Name]bool{}
	for i := range a.inv.Tables {
		if t := &a.inv.Tables[i]; units[topmost(a.inv, t).Target] {
			left[t.Name] = true
		}
	}
	return left, retry
}
