package incremental

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/ledger"
	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
)

// placement is where the rows of a table of the source are in the destination.
type placement struct {
	name  schema.Name
	chain []uint32 // the table there, and the partitioned ones above it
}

// related reports whether a row of one placement may be found in the table of the other.
func (p placement) related(o placement) bool {
	return slices.Contains(p.chain, o.chain[0]) || slices.Contains(o.chain, p.chain[0])
}

// emptied returns those of the truncated tables that need nothing but a TRUNCATE of the table that has their rows in the
// destination, although that has, or may have, rows of others: all of these were truncated too. Rows of several tables cannot be
// told apart there, so it has to be all of them or none.
func (a *applier) emptied(ctx context.Context, c *change) (map[*target]bool, error) {
	renamed := a.cfg.Selection.Maps()
	if !renamed && !slices.ContainsFunc(c.truncated, func(t *target) bool { return t.root }) {
		return nil, nil
	}
	places, lost, err := a.placements(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("TRUNCATE of %s at %s: %w", c.describe(), c.tx.at, err)
	}
	truncated := map[schema.Name]bool{}
	for _, t := range c.truncated {
		truncated[t.relation.name] = true
	}
	done := map[*target]bool{}
	for _, t := range c.truncated {
		own, ok := places[t.relation.name]
		if !ok {
			continue
		}
		spared, strangers := 0, []string(nil)
		for source, p := range places {
			if truncated[source] || !own.related(p) {
				continue
			}
			spared++
			if a.top(source) != a.top(t.relation.name) {
				strangers = append(strangers, source.String())
			}
		}
		if renamed && strangers != nil {
			slices.Sort(strangers)
			return nil, permanentf("TRUNCATE of %s at %s: table %s of the destination also has the rows of %s, which cannot be told apart there; "+
				"reset the task, and from then on use DELETE, or truncate all of these tables in one statement",
				t.relation.name, c.tx.at, own.name, strings.Join(strangers, ", "))
		}
		done[t] = t.root && spared == 0 && !lost
	}
	return done, nil
}

// placements finds out where the tables of the source are. lost tells that this is not known of some.
func (a *applier) placements(ctx context.Context, c *change) (places map[schema.Name]placement, lost bool, err error) {
	sources, err := a.sourceTables(ctx)
	if err != nil {
		return nil, false, err
	}
	for _, t := range c.truncated {
		if !slices.Contains(sources, t.relation.name) {
			sources = append(sources, t.relation.name)
		}
	}
	var wanted []schema.Name
	for _, s := range sources {
		wanted = append(wanted, a.cfg.Selection.Target(s), a.cfg.Selection.Target(a.top(s)))
	}
	chains, err := a.dst.chains(ctx, wanted)
	if err != nil {
		return nil, false, err
	}
	objects, err := ledger.Objects(ctx, a.dst.conn, a.cfg.Task)
	if err != nil {
		return nil, false, err
	}
	places = map[schema.Name]placement{}
	for i, s := range sources {
		own, top := placement{wanted[2*i], chains[wanted[2*i]]}, placement{wanted[2*i+1], chains[wanted[2*i+1]]}
		switch { // as place decides
		case own.chain != nil && (top.chain == nil || own.related(top) || len(a.copied) == 0 || objects[ledger.ClaimPrefix+own.name.String()]):
			places[s] = own
		case top.chain != nil:
			places[s] = top
		default:
			lost = true
		}
	}
	return places, lost, nil
}

// sourceTables lists the tables of the task that hold rows in the source, or did when they were copied and are gone since.
func (a *applier) sourceTables(ctx context.Context) ([]schema.Name, error) {
	conn, err := a.cfg.Source.Connect(ctx, "pgsyncd "+a.cfg.Task+" source")
	if err != nil {
		return nil, err
	}
	defer endpoint.CloseConn(ctx, conn)
	above, err := readAncestors(ctx, conn, a.src.version)
	if err != nil {
		return nil, err
	}
	a.stream.counters.partitions(above)
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

// chains looks up tables of the destination and those above them; what does not exist is left out.
func (s *session) chains(ctx context.Context, tables []schema.Name) (map[schema.Name][]uint32, error) {
	partition := "false"
	if s.version >= 100000 {
		partition = "c.relispartition"
	}
	var schemas, names []string
	for _, t := range tables {
		schemas, names = append(schemas, t.Schema), append(names, t.Name)
	}
	rows, err := s.conn.Query(ctx, `
		WITH RECURSIVE up (s, n, level, oid) AS (
			SELECT n.nspname, c.relname, 1, c.oid FROM (SELECT DISTINCT u.s, u.n FROM unnest($1::text[], $2::text[]) AS u (s, n)) AS t
			JOIN pg_catalog.pg_namespace n ON n.nspname = t.s
			JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = t.n AND c.relkind IN ('r', 'p')
			UNION ALL
			SELECT up.s, up.n, up.level + 1, h.inhparent FROM up JOIN pg_catalog.pg_class c ON c.oid = up.oid AND `+partition+`
			JOIN pg_catalog.pg_inherits h ON h.inhrelid = up.oid)
		SELECT up.s, up.n, pg_catalog.array_agg(up.oid ORDER BY up.level) FROM up GROUP BY up.s, up.n`, schemas, names)
	if err != nil {
		return nil, fmt.Errorf("look for tables in the destination: %w", err)
	}
	found := map[schema.Name][]uint32{}
	var name schema.Name
	var chain []uint32
	_, err = pgx.ForEachRow(rows, []any{&name.Schema, &name.Name, &chain}, func() error {
		found[name], chain = chain, nil
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for tables in the destination: %w", err)
	}
	return found, nil
}
