package everything

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Renames are the names that a database was given elsewhere.
type Renames struct {
	Schemas map[string]string    // by their names in the source
	Tables  map[[2]string]string // by schema and name in the source; the schema is that of Schemas
}

// Undo gives a copy of a database the names back that it has in the source, PostgreSQL itself doing what hangs together with
// them. Indexes and constraints lose what a mapping adds to their names.
func (r Renames) Undo(ctx context.Context, source, copied *pgx.Conn) error {
	for from, to := range r.Schemas {
		if err := alter(ctx, copied, "ALTER SCHEMA %s RENAME TO %s", to, from); err != nil {
			return err
		}
	}
	for from, to := range r.Tables {
		if err := alter(ctx, copied, "ALTER TABLE %s.%s RENAME TO %s", from[0], to, from[1]); err != nil {
			return err
		}
	}
	for _, kind := range []struct {
		prefix, list, rename string
	}{
		{"c", constraintsSQL, "ALTER TABLE %s.%s RENAME CONSTRAINT %s TO %s"},
		{"i", indexesSQL, "ALTER INDEX %s.%s RENAME TO %s"},
	} {
		if err := undo(ctx, source, copied, kind.prefix, kind.list, kind.rename); err != nil {
			return err
		}
	}
	return nil
}

// Both lists name schema and table and the object itself. What is inherited follows its parent, and constraints of typed tables cannot
// be renamed (tablecmds.c, renameatt_check).
const (
	constraintsSQL = `SELECT n.nspname, c.relname, k.conname FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.oid >= 16384 AND NOT (k.contype = 'c' AND k.coninhcount > 0) AND c.reloftype = 0 AND k.contype <> 't' ORDER BY 1, 2, 3`
	indexesSQL = `SELECT n.nspname, c.relname, x.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_class x ON x.oid = i.indexrelid
		JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid >= 16384 AND n.nspname <> 'pg_toast'
		AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = i.indexrelid AND conrelid = i.indrelid) ORDER BY 1, 2, 3`
)

// undo renames objects of tables back.
func undo(ctx context.Context, source, copied *pgx.Conn, prefix, list, rename string) error {
	originals, err := named(ctx, source, list)
	if err != nil {
		return err
	}
	objects, err := named(ctx, copied, list)
	if err != nil {
		return err
	}
	pattern := regexp.MustCompile(`(?s)^` + prefix + `_[0-9a-z]+_(.*)_key$`)
	taken := map[[3]string]bool{}
	for _, o := range objects {
		m := pattern.FindStringSubmatch(o[2])
		if m == nil {
			continue // it is compared as it is
		}
		for _, original := range originals {
			fits := original[2] == m[1] || len(o[2]) > 59 && strings.HasPrefix(original[2], m[1])
			if original[0] != o[0] || original[1] != o[1] || !fits || taken[original] {
				continue
			}
			taken[original] = true
			names := []string{o[0], o[1], o[2], original[2]}
			if prefix == "i" {
				names = []string{o[0], o[2], original[2]}
			}
			if err := alter(ctx, copied, rename, names...); err != nil {
				return err
			}
			break
		}
	}
	return nil
}

func named(ctx context.Context, conn *pgx.Conn, sql string) ([][3]string, error) {
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (v [3]string, err error) {
		return v, row.Scan(&v[0], &v[1], &v[2])
	})
}

// alter runs a statement with names in the places of %s.
func alter(ctx context.Context, conn *pgx.Conn, format string, names ...string) error {
	quoted := make([]any, len(names))
	for i, name := range names {
		quoted[i] = pgx.Identifier{name}.Sanitize()
	}
	sql := fmt.Sprintf(format, quoted...)
	if _, err := conn.Exec(ctx, sql); err != nil {
		return fmt.Errorf("%s: %w", sql, err)
	}
	return nil
}
