package incremental

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
)

// feeding is a table of the destination, the topmost of its tree, with the tables of the source whose rows it has.
type feeding struct {
	top   target        // name and only
	roots []schema.Name // topmost tables of the source
	rows  []schema.Name // tables of the source that hold rows
}

// emptyMerged deals with truncated tables that share one table of the destination with others. Their rows cannot be told apart
// there, so it has to be all of them or none. It returns the targets that are emptied as a whole.
func (a *applier) emptyMerged(ctx context.Context, c *change) (done map[*target]bool, err error) {
	if !a.cfg.Selection.Maps() || len(c.truncated) == 0 {
		return nil, nil
	}
	tables, err := a.feedings(ctx)
	if err != nil {
		return nil, fmt.Errorf("TRUNCATE of %s at %s: %w", c.describe(), c.tx.start, err)
	}
	truncated := map[schema.Name]bool{}
	for _, t := range c.truncated {
		truncated[t.relation.name] = true
	}
	done = map[*target]bool{}
	emptied := map[*feeding]bool{}
	for _, t := range c.truncated {
		f := tables[a.stream.counters.root(t.relation.name)]
		if f == nil || len(f.roots) < 2 {
			continue
		}
		var spared []string
		for _, n := range f.rows {
			if !truncated[n] {
				spared = append(spared, n.String())
			}
		}
		if spared != nil {
			return nil, permanentf("TRUNCATE of %s at %s: table %s of the destination also has the rows of %s, which cannot be told apart there; "+
				"reset the task, and use DELETE on this table in the source, or truncate all of these tables in one statement",
				t.relation.name, c.tx.start, f.top.name, strings.Join(spared, ", "))
		}
		done[t] = true
		if !emptied[f] {
			emptied[f] = true
			c.listed = append(c.listed, &f.top)
		}
	}
	return done, nil
}

// feedings returns, for every topmost table of the source, the table of the destination that has its rows.
func (a *applier) feedings(ctx context.Context) (map[schema.Name]*feeding, error) {
	sources, err := a.sourceTables(ctx)
	if err != nil {
		return nil, err
	}
	var roots []schema.Name
	var schemas, names []string
	listed := map[schema.Name]bool{}
	for _, s := range sources {
		root := a.stream.counters.root(s)
		if listed[root] {
			continue
		}
		listed[root] = true
		to := a.cfg.Selection.Target(root)
		roots, schemas, names = append(roots, root), append(schemas, to.Schema), append(names, to.Name)
	}
	tops, err := a.dst.topmost(ctx, schemas, names)
	if err != nil {
		return nil, err
	}
	byOID, byRoot := map[uint32]*feeding{}, map[schema.Name]*feeding{}
	for _, t := range tops {
		f := byOID[t.oid]
		if f == nil {
			f = &feeding{top: target{name: t.name, only: t.only}}
			byOID[t.oid] = f
		}
		root := roots[t.ordinal-1]
		f.roots, byRoot[root] = append(f.roots, root), f
	}
	for _, s := range sources {
		if f := byRoot[a.stream.counters.root(s)]; f != nil {
			f.rows = append(f.rows, s)
		}
	}
	return byRoot, nil
}

// sourceTables lists the tables of the task that hold rows in the source, or did when they were copied and are gone since.
func (a *applier) sourceTables(ctx context.Context) ([]schema.Name, error) {
	conn, err := a.cfg.Source.Connect(ctx, "pgsyncd "+a.cfg.Task+" source")
	if err != nil {
		return nil, err
	}
	defer closeRaw(ctx, conn.PgConn())
	roots, err := readRoots(ctx, conn)
	if err != nil {
		return nil, err
	}
	a.stream.counters.partitions(roots)
	rows, err := conn.Query(ctx, `SELECT n.nspname, c.relname, c.relkind = 'r' FROM pg_catalog.pg_class c
		JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') AND c.oid >= 16384 ORDER BY 1, 2`)
	if err != nil {
		return nil, fmt.Errorf("read tables of the source: %w", err)
	}
	there := map[string]bool{}
	var list []schema.Name
	var name schema.Name
	var holdsRows bool
	_, err = pgx.ForEachRow(rows, []any{&name.Schema, &name.Name, &holdsRows}, func() error {
		there[name.String()] = true
		if holdsRows && a.wanted(name) {
			list = append(list, name)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read tables of the source: %w", err)
	}
	for text := range a.copied {
		if gone, ok := parseName(text); ok && !there[text] {
			list = append(list, gone)
		}
	}
	return list, nil
}

var quotedName = regexp.MustCompile(`(?s)\A"((?:[^"]|"")*)"\."((?:[^"]|"")*)"\z`)

// parseName reads what Name.String wrote; false for anything else.
func parseName(text string) (schema.Name, bool) {
	parts := quotedName.FindStringSubmatch(text)
	if parts == nil {
		return schema.Name{}, false
	}
	return schema.Name{Schema: strings.ReplaceAll(parts[1], `""`, `"`), Name: strings.ReplaceAll(parts[2], `""`, `"`)}, true
}

// topTable is the topmost table of the tree that a table of the destination belongs to.
type topTable struct {
	ordinal int64 // of the table that was asked for, from 1
	oid     uint32
	name    schema.Name
	only    string
}

// topmost looks up tables of the destination; those that do not exist are left out.
func (s *session) topmost(ctx context.Context, schemas, names []string) ([]topTable, error) {
	partition := "false"
	if s.version >= 100000 {
		partition = "c.relispartition"
	}
	rows, err := s.conn.Query(ctx, `
		WITH RECURSIVE up (i, oid) AS (
			SELECT t.i, c.oid FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS t (s, n, i)
			JOIN pg_catalog.pg_namespace n ON n.nspname = t.s
			JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = t.n AND c.relkind IN ('r', 'p')
			UNION ALL
			SELECT up.i, h.inhparent FROM up JOIN pg_catalog.pg_class c ON c.oid = up.oid AND `+partition+`
			JOIN pg_catalog.pg_inherits h ON h.inhrelid = up.oid)
		SELECT up.i, c.oid, n.nspname, c.relname, CASE c.relkind WHEN 'r' THEN 'ONLY ' ELSE '' END
		FROM up JOIN pg_catalog.pg_class c ON c.oid = up.oid AND NOT `+partition+`
		JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace ORDER BY up.i`, schemas, names)
	if err != nil {
		return nil, fmt.Errorf("look for tables in the destination: %w", err)
	}
	var list []topTable
	var t topTable
	_, err = pgx.ForEachRow(rows, []any{&t.ordinal, &t.oid, &t.name.Schema, &t.name.Name, &t.only}, func() error {
		list = append(list, t)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for tables in the destination: %w", err)
	}
	return list, nil
}
