package ledger

import (
	"context"
	"fmt"
	"strconv"
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

// sourcePrefix begins the key under objects that tells which table of the source was copied under a name: its OID, a space and the
// quoted name follow. A task that begins anew forgets it.
const sourcePrefix = "SOURCE "

// SourceKey is the key by which MarkObject records the OID of a copied table of the source.
func SourceKey(oid uint32, name string) string {
	return sourcePrefix + strconv.FormatUint(uint64(oid), 10) + " " + name
}

// Sources returns the names that the copied tables of the source had, by OID.
func Sources(ctx context.Context, q Querier, task string) (map[uint32]string, error) {
	rows, err := q.Query(ctx, `SELECT split_part(key, ' ', 2)::oid, substr(key, length(split_part(key, ' ', 2)) + length('`+sourcePrefix+`') + 2)
		FROM pgsyncd.objects WHERE task = $1::uuid AND key LIKE '`+sourcePrefix+`%'`, task)
	if err != nil {
		return nil, fmt.Errorf("read copied tables: %w", err)
	}
	sources := map[uint32]string{}
	var oid uint32
	var name string
	_, err = pgx.ForEachRow(rows, []any{&oid, &name}, func() error {
		sources[oid] = name
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read copied tables: %w", err)
	}
	return sources, nil
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
