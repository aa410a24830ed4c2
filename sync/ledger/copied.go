package ledger

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
)

// UnitPrefix begins the key under which a whole copy unit is recorded; the quoted name of its destination table follows. Each
// source table that feeds the unit is recorded as well, under its own quoted name.
const UnitPrefix = "INTO "

// MarkCopied records that a copy unit is complete as of the snapshot at lsn, in the transaction that completes it.
func MarkCopied(ctx context.Context, tx Execer, task, unit string, lsn pglogrepl.LSN) error {
	_, err := tx.Exec(ctx, `INSERT INTO pgsyncd.copied (task, unit, lsn) VALUES ($1::uuid, $2, $3::text::pg_lsn)
		ON CONFLICT (task, unit) DO UPDATE SET lsn = excluded.lsn`, task, unit, lsn.String())
	if err != nil {
		return fmt.Errorf("mark %s copied: %w", unit, err)
	}
	return nil
}

// Copied returns the finished copy units of a task with the position of their snapshots.
func Copied(ctx context.Context, q Querier, task string) (map[string]pglogrepl.LSN, error) {
	rows, err := q.Query(ctx, `SELECT unit, lsn::text FROM pgsyncd.copied WHERE task = $1::uuid`, task)
	if err != nil {
		return nil, fmt.Errorf("read copied units: %w", err)
	}
	units := map[string]pglogrepl.LSN{}
	var unit, text string
	_, err = pgx.ForEachRow(rows, []any{&unit, &text}, func() error {
		lsn, err := pglogrepl.ParseLSN(text)
		units[unit] = lsn
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read copied units: %w", err)
	}
	return units, nil
}

// ClaimPrefix begins the key under objects by which a task says that a table may hold rows of it; the quoted name follows.
const ClaimPrefix = "ROWS "

// LargeObjects begins the key under objects that says up to which OID the large objects are copied; a task that begins anew
// copies them again.
const LargeObjects = "LARGE OBJECTS TO "

// sourcePrefix begins the keys under objects that tell which table of the source was copied: its OID, a space, a number, a space and a
// quoted name follow. The name of number 0 is the table's own, those after it are of the partitioned tables above, the nearest first.
// A task that begins anew forgets them.
const sourcePrefix = "SOURCE "

// SourceKeys are the keys by which MarkObject records a copied table of the source: its name and those of the tables above it.
func SourceKeys(oid uint32, names ...string) []string {
	keys := make([]string, len(names))
	for i, name := range names {
		keys[i] = fmt.Sprintf("%s%d %d %s", sourcePrefix, oid, i, name)
	}
	return keys
}

// Sources returns what SourceKeys recorded, by OID.
func Sources(ctx context.Context, q Querier, task string) (map[uint32][]string, error) {
	rows, err := q.Query(ctx, `SELECT split_part(key, ' ', 2)::oid, substr(key, length('`+sourcePrefix+`') + length(split_part(key, ' ', 2)) +
			length(split_part(key, ' ', 3)) + 3)
		FROM pgsyncd.objects WHERE task = $1::uuid AND key LIKE '`+sourcePrefix+`%' ORDER BY 1, split_part(key, ' ', 3)::int`, task)
	if err != nil {
		return nil, fmt.Errorf("read copied tables: %w", err)
	}
	sources := map[uint32][]string{}
	var oid uint32
	var name string
	_, err = pgx.ForEachRow(rows, []any{&oid, &name}, func() error {
		sources[oid] = append(sources[oid], name)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read copied tables: %w", err)
	}
	return sources, nil
}

// publicationPrefix begins the keys under objects that say which publication the task made: its OID follows and, in a key for each table that
// it names, the table's OID and that of the row that says so. Another one of that name did not bring what was committed before it was
// made, nor did a table that was taken out and put back. A task that begins anew makes a new one.
const publicationPrefix = "PUBLISHED BY "

// PublicationKeys are the keys by which MarkObject records the publication of a task, and its rows of pg_publication_rel by table.
func PublicationKeys(oid uint32, rows map[uint32]uint32) []string {
	keys := []string{fmt.Sprintf("%s%d", publicationPrefix, oid)}
	for table, row := range rows {
		keys = append(keys, fmt.Sprintf("%s%d %d %d", publicationPrefix, oid, table, row))
	}
	return keys
}

// Publication returns what PublicationKeys recorded, 0 if that was never done.
func Publication(ctx context.Context, q Querier, task string) (oid uint32, rows map[uint32]uint32, err error) {
	found, err := q.Query(ctx, `SELECT split_part(key, ' ', 3)::oid, coalesce(nullif(split_part(key, ' ', 4), ''), '0')::oid,
			coalesce(nullif(split_part(key, ' ', 5), ''), '0')::oid
		FROM pgsyncd.objects WHERE task = $1::uuid AND key LIKE '`+publicationPrefix+`%'`, task)
	if err != nil {
		return 0, nil, fmt.Errorf("read the publication of task %s: %w", task, err)
	}
	rows = map[uint32]uint32{}
	var table, row uint32
	_, err = pgx.ForEachRow(found, []any{&oid, &table, &row}, func() error {
		if table != 0 {
			rows[table] = row
		}
		return nil
	})
	if err != nil {
		return 0, nil, fmt.Errorf("read the publication of task %s: %w", task, err)
	}
	return oid, rows, nil
}

// MarkObject records that the task created objects, in the transaction that creates them.
func MarkObject(ctx context.Context, tx Execer, task string, keys ...string) error {
	_, err := tx.Exec(ctx, `INSERT INTO pgsyncd.objects (task, key) SELECT $1::uuid, unnest($2::text[]) ON CONFLICT (task, key) DO NOTHING`, task, keys)
	if err != nil {
		return fmt.Errorf("mark object %s: %w", strings.Join(keys, ", "), err)
	}
	return nil
}

// ForgetObject takes back what MarkObject recorded.
func ForgetObject(ctx context.Context, tx Execer, task, key string) error {
	_, err := tx.Exec(ctx, `DELETE FROM pgsyncd.objects WHERE task = $1::uuid AND key = $2`, task, key)
	if err != nil {
		return fmt.Errorf("forget object %s: %w", key, err)
	}
	return nil
}

// roleMark begins the keys of roles that the task has created, which belong to the whole cluster and not to the database.
const roleMark = "ROLE "

// RoleKey is the key under objects that says that the task has created a role.
func RoleKey(role string) string { return roleMark + role }

// ForgetMade forgets what the task created in the database. Where it put rows stays known, and which roles it made.
func ForgetMade(ctx context.Context, tx Execer, task string) error {
	_, err := tx.Exec(ctx, `DELETE FROM pgsyncd.objects WHERE task = $1::uuid AND NOT key LIKE ANY ($2)`, task,
		[]string{ClaimPrefix + "%", serverPrefix + "%", roleMark + "%", repairPrefix + "%"})
	if err != nil {
		return fmt.Errorf("forget what the task created: %w", err)
	}
	return nil
}

// Objects returns the keys of the objects the task created.
func Objects(ctx context.Context, q Querier, task string) (map[string]bool, error) {
	rows, err := q.Query(ctx, `SELECT key FROM pgsyncd.objects WHERE task = $1::uuid`, task)
	if err != nil {
		return nil, fmt.Errorf("read objects: %w", err)
	}
	keys := map[string]bool{}
	var key string
	_, err = pgx.ForEachRow(rows, []any{&key}, func() error {
		keys[key] = true
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read objects: %w", err)
	}
	return keys, nil
}
