package precheck

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

var filterChecks = []check{
	{"filters", "row filters", source | inventory, false, rowFilters},
	{"filters", "column lists", inventory, false, columnLists},
	{"filters", "filters in the stream", source | inventory, true, streamedFilters},
}

// oldestFilter is the first version whose publications select rows and columns.
const oldestFilter = 150000

// filtered are the tables whose rows are selected by an expression of their own: a partition is judged with its root.
func (e *env) filtered() []schema.Table {
	var list []schema.Table
	for _, t := range e.inv.Tables {
		root := e.inv.Table(t.Root)
		if t.Filter != "" && (root == nil || t.Root == t.Name || root.Filter != t.Filter) {
			list = append(list, t)
		}
	}
	return list
}

// rowFilters lets the source parse each filter, without executing it. The second form knows brackets of another kind, so
// that an expression cannot close the parentheses that stand around it in later statements.
func rowFilters(ctx context.Context, e *env) (finding, error) {
	list := e.filtered()
	var found, fix []string
	for _, t := range list {
		for _, form := range []string{"SELECT FROM ONLY %s WHERE (%s\n)", "SELECT ARRAY[%[2]s\n] FROM ONLY %[1]s"} {
			_, err := e.src.conn.PgConn().Prepare(ctx, "", fmt.Sprintf(form, t.Name, t.Filter), nil)
			pgErr, refused := errors.AsType[*pgconn.PgError](err)
			if err != nil && !refused {
				return finding{}, err
			}
			if refused {
				found = append(found, fmt.Sprintf("table %s: %s%s", t.Name, pgErr.Message, where(pgErr, form, t)))
				if pgErr.Hint != "" {
					fix = append(fix, fmt.Sprintf("table %s: %s", t.Name, pgErr.Hint))
				}
				break
			}
		}
	}
	if len(found) > 0 {
		return failed(strings.Join(found, "; "), statements(append([]string{
			"Write each filter as one boolean expression over the columns of its table: TABLE … WHERE (…)",
		}, fix...)))
	}
	return passed("%s", count(len(list), "filter", "filters"))
}

// where tells the place of an error within the filter, if it is there.
func where(err *pgconn.PgError, form string, t schema.Table) string {
	marker := "\x00"
	before, _, _ := strings.Cut(fmt.Sprintf(form, t.Name, marker), marker)
	at, runes := int(err.Position)-len([]rune(before)), []rune(t.Filter)
	if at < 1 || at > len(runes) {
		return ""
	}
	return fmt.Sprintf(", at character %d of the filter: %s", at, shorten(string(runes[at-1:])))
}

// shorten keeps the beginning of a text.
func shorten(text string) string {
	const most = 40
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}

// columnLists concerns what a selection of columns takes away: keys, and with them what the stream needs.
func columnLists(_ context.Context, e *env) (finding, error) {
	var broken, fix, keyless []string
	lists := 0
	for _, t := range e.inv.Tables {
		if len(t.Omitted) == 0 {
			continue
		}
		lists++
		switch {
		case e.in.Incremental && t.Kind == schema.KindTable && t.Identity == schema.IdentityFull:
			broken = append(broken, fmt.Sprintf("%s, whose replica identity is all columns", t.Name))
			if t.PrimaryKey != nil {
				fix = append(fix, fmt.Sprintf("ALTER TABLE %s REPLICA IDENTITY DEFAULT;", t.Name))
			}
		case e.in.Incremental && t.Kind == schema.KindTable && intersects(t.Key, t.Omitted):
			broken = append(broken, fmt.Sprintf("%s, whose replica identity is %s", t.Name, strings.Join(quoted(t.Key), ", ")))
		case intersects(t.PrimaryKey, t.Omitted):
			keyless = append(keyless, fmt.Sprintf("%s (%s)", t.Name, strings.Join(quoted(t.PrimaryKey), ", ")))
		}
	}
	switch {
	case len(broken) > 0:
		return failed("PostgreSQL would refuse UPDATE and DELETE on the source, because the selected columns do not hold the replica identity: "+enumerate(broken),
			statements(append([]string{"Select those columns too, or all columns, or use MODE FULL."}, fix...)))
	case len(keyless) > 0:
		return confirm("tables that have no primary key in the destination, because its columns are not selected: "+enumerate(keyless),
			"Select the columns of the keys too, or confirm that the destination does without the keys.")
	}
	return passed("%s", count(lists, "list of columns", "lists of columns"))
}

func intersects(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}

// streamedFilters concerns filters and column lists of tables whose changes are streamed: the publication has to carry them.
func streamedFilters(ctx context.Context, e *env) (finding, error) {
	var restricted []schema.Table
	for _, t := range e.tables() {
		if !t.Unlogged && (t.Filter != "" || len(t.Omitted) > 0) {
			restricted = append(restricted, t)
		}
	}
	if len(restricted) == 0 {
		return passed("none")
	}
	if e.src.version < oldestFilter {
		var list []string
		for _, t := range restricted {
			list = append(list, t.Name.String())
		}
		return failed(fmt.Sprintf("PostgreSQL %s cannot publish some rows or columns of a table only: %s", versionText(e.src.version), enumerate(list)),
			"Take all rows and columns of these tables, or use MODE FULL, or a source of PostgreSQL 15 or newer.")
	}
	var found, fix []string
	for _, t := range restricted {
		if t.Filter == "" {
			continue
		}
		refusal, columns, err := e.publish(ctx, t)
		if err != nil {
			return finding{}, err
		}
		if refusal != nil && refusal.Code == "42501" {
			return failed("could not be tried: "+refusal.Message, "See what is suggested for create publication.")
		}
		if refusal != nil {
			text := fmt.Sprintf("table %s: %s", t.Name, refusal.Message)
			if refusal.Detail != "" {
				text += " (" + refusal.Detail + ")"
			}
			found = append(found, text)
			continue
		}
		outside := slices.DeleteFunc(columns, func(c string) bool {
			return t.Identity == schema.IdentityFull || slices.Contains(t.Key, c)
		})
		if len(outside) > 0 {
			found = append(found, fmt.Sprintf("table %s: the filter uses %s, outside its replica identity", t.Name, strings.Join(quoted(outside), ", ")))
			fix = append(fix, fmt.Sprintf("ALTER TABLE %s REPLICA IDENTITY FULL;", t.Name))
		}
	}
	if len(found) > 0 {
		return failed(strings.Join(found, "; "), statements(append([]string{
			"Filter by columns of the key with immutable built-in functions only, or use MODE FULL, or make the old row known, on the source:",
		}, fix...)))
	}
	return passed("the publication can carry those of %s", count(len(restricted), "table", "tables"))
}

// publish creates a publication with the table's filter in a transaction that is rolled back. It returns why the source refuses
// that, or the columns that the filter looks at. Whoever works with the table is not waited for.
func (e *env) publish(ctx context.Context, t schema.Table) (refusal *pgconn.PgError, columns []string, err error) {
	tx, err := e.src.conn.Begin(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // which is all that becomes of it
	const probe = "pgsyncd_precheck"
	for _, sql := range []string{
		"SET LOCAL lock_timeout = '5s'", fmt.Sprintf("CREATE PUBLICATION %s FOR TABLE ONLY %s WHERE (%s\n)", probe, t.Name, t.Filter),
	} {
		_, err := tx.Exec(ctx, sql)
		if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && pgErr.Code != "55P03" {
			return pgErr, nil, nil
		}
		if err != nil {
			return nil, nil, err
		}
	}
	rows, err := tx.Query(ctx, `SELECT DISTINCT a.attname::text FROM pg_catalog.pg_publication_rel r
		JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid
		JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_publication_rel'::pg_catalog.regclass AND d.objid = r.oid
			AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjsubid > 0
		JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
		WHERE p.pubname = $1 ORDER BY 1`, probe)
	if err != nil {
		return nil, nil, err
	}
	columns, err = pgx.CollectRows(rows, pgx.RowTo[string])
	return nil, columns, err
}
