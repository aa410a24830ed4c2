package precheck

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5/pgconn"
)

var filterChecks = []check{
	{"filters", "row filters", source | inventory, always, rowFilters},
	{"filters", "column lists", inventory, always, columnLists},
	{"filters", "filters in the stream", source | inventory, streamed, streamedFilters},
	{"filters", "long values of filtered tables", inventory, streamed, filteredLongValues},
	{"filters", "filtered partitions", inventory, streamed, filteredPartitions},
}

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
	switch {
	case at < 1:
		return ""
	case at > len(runes):
		return ", at the end of the filter: " + shorten(t.Filter)
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

// columnLists concerns keys that a selection of columns takes away. What a stream needs of them is for streamedFilters to say.
func columnLists(_ context.Context, e *env) (finding, error) {
	var keyless []string
	lists := 0
	for _, t := range e.inv.Tables {
		if len(t.Omitted) == 0 {
			continue
		}
		lists++
		if intersects(t.PrimaryKey, t.Omitted) && (!e.in.Incremental || !intersects(t.Key, t.Omitted)) {
			keyless = append(keyless, fmt.Sprintf("%s (%s)", t.Name, strings.Join(quoted(t.PrimaryKey), ", ")))
		}
	}
	if len(keyless) > 0 {
		return confirm("tables that have no primary key in the destination, because its columns are not selected: "+enumerate(keyless),
			"Select the columns of the keys too, or confirm that the destination does without the keys.")
	}
	return passed("%s", count(lists, "list of columns", "lists of columns"))
}

func intersects(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}

// streamedFilters concerns filters and column lists of tables whose changes are streamed: it makes the publication that has to
// carry them, in a transaction that is rolled back. Whoever works with the tables is not waited for.
func streamedFilters(ctx context.Context, e *env) (finding, error) {
	restricted := 0
	for _, t := range e.tables() {
		if t.Filter != "" || len(t.Omitted) > 0 {
			restricted++
		}
	}
	if restricted == 0 {
		return passed("none")
	}
	plugin, _, err := e.plugin(ctx)
	if err != nil {
		return finding{}, err
	}
	if plugin == PluginTestDecoding {
		if found := e.unselectable(); found != nil {
			return failed(strings.Join(found, "; "), "Remove the condition, select the column, or let the task use pgoutput on a source of PostgreSQL 15 or newer.")
		}
		return passed("columns of %s are left out by the daemon", count(restricted, "table", "tables"))
	}
	tx, err := e.src.conn.Begin(ctx)
	if err != nil {
		return finding{}, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // which is all that becomes of it
	if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '5s'"); err != nil {
		return finding{}, err
	}
	probe := fmt.Sprintf("pgsyncd_precheck_%d", e.src.conn.PgConn().PID())
	err = schema.CreatePublication(ctx, tx, probe, e.inv, func(schema.Name) bool { return false })
	pgErr, refused := errors.AsType[*pgconn.PgError](err)
	var found, fix []string
	for _, fault := range unjoin(err) {
		var wrong *schema.PublicationError
		if errors.As(fault, &wrong) {
			found = append(found, fmt.Sprintf("table %s: %s", wrong.Table, wrong.Reason))
			if cause, ok := errors.AsType[*pgconn.PgError](wrong.Cause); ok && cause.Code == "42P10" {
				fix = append(fix, fmt.Sprintf("Filter %[1]s by columns of its replica identity, or on the source:\nALTER TABLE %[1]s REPLICA IDENTITY FULL;", wrong.Table))
				continue
			}
			fix = append(fix, fmt.Sprintf("%s: %s", wrong.Table, wrong.Advice))
		}
	}
	switch {
	case len(found) > 0:
		return failed(strings.Join(found, "; "), statements(fix))
	case refused && pgErr.Code == "42501":
		return failed("could not be tried: "+pgErr.Message, "See what is suggested for create publication.")
	case err != nil:
		return finding{}, err
	}
	return passed("the publication can carry those of %s; its columns can be dropped and change their type in the source only when the task is over",
		count(restricted, "table", "tables"))
}

// filteredLongValues concerns rows whose key changes so that they come into a filter: they arrive as new rows, but without
// the values that are stored out of line and did not change.
func filteredLongValues(_ context.Context, e *env) (finding, error) {
	var found, fix []string
	for _, t := range e.tables() {
		long := slices.ContainsFunc(t.Columns, func(c schema.Column) bool { return c.Toastable && !slices.Contains(t.Key, c.Name) })
		if t.Filter != "" && t.Identity != schema.IdentityFull && long {
			found = append(found, t.Name.String())
			fix = append(fix, fmt.Sprintf("ALTER TABLE %s REPLICA IDENTITY FULL;", t.Name))
		}
	}
	if len(found) > 0 {
		return confirm("an UPDATE of the key that moves a row with values above 2 kB into the filter stops the task for good: "+enumerate(found),
			"Confirm that keys do not change so, or on the source:\n"+statements(fix))
	}
	return passed("none can be missing")
}

// filteredPartitions concerns partition trees: a filter is published with each of the partitions that exist.
func filteredPartitions(_ context.Context, e *env) (finding, error) {
	var found []string
	for _, t := range e.inv.Tables {
		if t.Kind == schema.KindPartitioned && t.Filter != "" && t.Root == t.Name {
			found = append(found, t.Name.String())
		}
	}
	if len(found) > 0 {
		return confirm("a partition that is created or attached while the task runs stops it, because its filter is not published: "+enumerate(found),
			"Create the partitions that will be needed before the start, or take all rows of these tables.")
	}
	return passed("no partitioned table has a filter")
}
