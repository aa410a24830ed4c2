package fullcopy

import (
	"context"
	"fmt"

	"pgsyncd/sync/ledger"
	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
)

// claimKey marks in the ledger that the rows of a unit's table may be the task's: it is written in the first transaction
// that brings or could bring some. Only with that mark is a table ever emptied that holds rows.
func claimKey(table schema.Name) string { return ledger.ClaimPrefix + table.String() }

// unitKey is what a finished unit is called in the ledger; table is the destination's.
func unitKey(table schema.Name) string { return ledger.UnitPrefix + table.String() }

// statisticsKey marks in the ledger that a unit's table has its indexes, constraints and statistics.
func statisticsKey(table schema.Name) string { return statisticsPrefix + table.String() }

const statisticsPrefix = "STATISTICS OF "

// UnitError says why a table may not be filled.
type UnitError struct {
	Table  schema.Name
	Reason string
	Advice string
}

func (e *UnitError) Error() string {
	return fmt.Sprintf("table %s of the destination %s", e.Table, e.Reason)
}

// Permanent reports that somebody has to decide what becomes of the rows.
func (e *UnitError) Permanent() bool { return true }

// Detail is empty; it comes with Hint.
func (e *UnitError) Detail() string { return "" }

// Hint says what can be done.
func (e *UnitError) Hint() string { return e.Advice }

func errForeignRows(table schema.Name) error {
	return &UnitError{table, "holds rows of another task", "To add rows to them, set existing_objects to append."}
}

// errBusy reports that another task is in the middle of copying into the same table.
var errBusy = fmt.Errorf("another task is copying into the table")

// claim makes a unit's table ready to be filled, within tx. The lock comes first: it orders the claims of several tasks on
// one table, so that each sees the other's marks, which are in the same transactions as the rows they speak of.
func (j *job) claim(ctx context.Context, tx pgx.Tx, u *unit, truncate bool) error {
	mode := "ROW EXCLUSIVE"
	if u.fresh {
		mode = "ACCESS EXCLUSIVE"
	}
	if _, err := tx.Exec(ctx, "LOCK TABLE "+only(u)+" IN "+mode+" MODE"); err != nil {
		return err
	}
	others, busy, mine, err := j.claims(ctx, tx, u)
	switch {
	case err != nil:
		return err
	case u.fresh && others > 0:
		return errForeignRows(u.name)
	case busy:
		return errBusy
	case !u.fresh && mine:
		return &UnitError{
			u.name, "holds rows of an earlier run of this task, which cannot be told from those of others",
			"Delete the rows of the earlier run, or drop the task and create it anew.",
		}
	}
	if !u.fresh {
		return ledger.MarkObject(ctx, tx, j.cfg.Task, claimKey(u.name))
	}
	if !mine {
		var filled bool
		if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM "+only(u)+")").Scan(&filled); err != nil {
			return err
		}
		if filled {
			return &UnitError{
				u.name, "is not empty",
				"Empty it, or set existing_objects to append to keep its rows.",
			}
		}
		if err := ledger.MarkObject(ctx, tx, j.cfg.Task, claimKey(u.name)); err != nil {
			return err
		}
	}
	if mine || truncate {
		return j.empty(ctx, tx, u)
	}
	return nil
}

// relatedSQL names (%[1]s is a table's name, of c and n) the tables that %[2]s selects by their OIDs, the partitions of these and the
// partitioned tables above: what is done to one of them is done to rows of the other.
const relatedSQL = `
	WITH RECURSIVE below (oid) AS (
		%[2]s
		UNION SELECT i.inhrelid FROM below b JOIN pg_catalog.pg_class p ON p.oid = b.oid AND p.relkind = 'p' JOIN pg_catalog.pg_inherits i ON i.inhparent = p.oid),
	above (oid) AS (
		%[2]s
		UNION SELECT i.inhparent FROM above a JOIN pg_catalog.pg_inherits i ON i.inhrelid = a.oid JOIN pg_catalog.pg_class p ON p.oid = i.inhparent AND p.relkind = 'p'),
	related (name) AS (
		SELECT %[1]s FROM (SELECT oid FROM below UNION SELECT oid FROM above) AS t
		JOIN pg_catalog.pg_class c ON c.oid = t.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace)`

// nameSQL writes a table's name as schema.Name.String does.
const nameSQL = `'"' || replace(n.nspname, '"', '""') || '"."' || replace(c.relname, '"', '""') || '"'`

// claims tells how many other tasks have put rows into the unit's table, whether one of them is not done with it, indexes
// included, and whether this task has a mark of its own.
func (j *job) claims(ctx context.Context, q ledger.Querier, u *unit) (others int, busy, mine bool, err error) {
	err = q.QueryRow(ctx, fmt.Sprintf(relatedSQL, nameSQL, "SELECT $2::text::pg_catalog.regclass::pg_catalog.oid")+`
		SELECT count(*) FILTER (WHERE o.task <> $1::uuid),
			coalesce(bool_or(o.task <> $1::uuid AND (c.task IS NULL OR s.task IS NULL)), false),
			coalesce(bool_or(o.task = $1::uuid AND r.name = $2), false)
		FROM related r JOIN pgsyncd.objects o ON o.key = '`+ledger.ClaimPrefix+`' || r.name
		LEFT JOIN pgsyncd.copied c ON c.task = o.task AND c.unit = '`+ledger.UnitPrefix+`' || r.name
		LEFT JOIN pgsyncd.objects s ON s.task = o.task AND s.key = '`+statisticsPrefix+`' || r.name`, j.cfg.Task, u.name.String()).Scan(&others, &busy, &mine)
	if err != nil {
		err = fmt.Errorf("read claims on table %s: %w", u.name, err)
	}
	return others, busy, mine, err
}

// claimedByOthers returns the claims of all other tasks, and the like for the tables related to these.
func (j *job) claimedByOthers(ctx context.Context, tx pgx.Tx) (map[string]bool, error) {
	rows, err := tx.Query(ctx, fmt.Sprintf(relatedSQL, nameSQL, `SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		JOIN pgsyncd.objects o ON o.key = '`+ledger.ClaimPrefix+`' || `+nameSQL+` WHERE o.task <> $1::uuid AND c.relkind IN ('r', 'p')`)+`
		SELECT '`+ledger.ClaimPrefix+`' || r.name FROM related r`, j.cfg.Task)
	if err != nil {
		return nil, fmt.Errorf("read claims of other tasks: %w", err)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("read claims of other tasks: %w", err)
	}
	claimed := map[string]bool{}
	for _, k := range keys {
		claimed[k] = true
	}
	return claimed, nil
}

// empty removes the rows of an earlier attempt. TRUNCATE never cascades; where a foreign key forbids it, rows are deleted,
// provided that no action of that key can fire.
func (j *job) empty(ctx context.Context, tx pgx.Tx, u *unit) error {
	if !u.blocked {
		_, err := tx.Exec(ctx, "TRUNCATE "+only(u))
		return err
	}
	if !j.replica.Load() {
		return &UnitError{
			u.name, "holds rows of an interrupted copy and is referenced by a foreign key of another table",
			"Delete its rows, then resume the task.",
		}
	}
	_, err := tx.Exec(ctx, "DELETE FROM "+only(u))
	return err
}

// only names the table without those that merely inherit from it; partitions belong to it.
func only(u *unit) string {
	if u.kind == schema.KindPartitioned {
		return u.name.String()
	}
	return "ONLY " + u.name.String()
}

// referencedSQL finds the tables that a foreign key of another table refers to.
const referencedSQL = `
SELECT DISTINCT k.confrelid FROM pg_catalog.pg_constraint k
 WHERE k.contype = 'f' AND k.confrelid = ANY ($1) AND k.conrelid <> k.confrelid`

// findBlocked marks the units that cannot be truncated.
func (j *job) findBlocked(ctx context.Context, dest *schema.Inventory, units []*unit) error {
	oids := make([]uint32, len(dest.Tables))
	for i, t := range dest.Tables {
		oids[i] = t.OID
	}
	rows, err := j.dst.Query(ctx, referencedSQL, oids)
	if err != nil {
		return fmt.Errorf("read foreign keys of the destination: %w", err)
	}
	referenced, err := pgx.CollectRows(rows, pgx.RowTo[uint32])
	if err != nil {
		return fmt.Errorf("read foreign keys of the destination: %w", err)
	}
	blocked := map[schema.Name]bool{}
	for i := range dest.Tables {
		for _, oid := range referenced {
			if dest.Tables[i].OID == oid {
				blocked[topmost(dest, &dest.Tables[i]).Name] = true
			}
		}
	}
	for _, u := range units {
		u.blocked = blocked[u.name]
	}
	return nil
}
