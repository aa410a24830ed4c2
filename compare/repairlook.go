package compare

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
)

// version is a version of a row.
type version struct {
	part, tid string // the table it is in and its ctid
	id        string // tells it from all others of the table and its partitions
	image     string // hash of what is compared of it
	row       map[string]*string
}

// ids are the identities of versions, in order.
func ids(versions []version) string {
	list := make([]string, len(versions))
	for i, v := range versions {
		list[i] = v.id
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// unequal are those of either side that are left when equal ones have cancelled each other.
func unequal(source, destination []version) (left, right []version) {
	right = slices.Clone(destination)
	for _, v := range source {
		if i := slices.IndexFunc(right, func(w version) bool { return w.image == v.image }); i >= 0 {
			right = slices.Delete(right, i, i+1)
		} else {
			left = append(left, v)
		}
	}
	return left, right
}

// lookFor says whose versions are looked for.
type lookFor struct {
	suspects []*suspect
	lock     bool // the rows that are found
}

// place is where versions are looked for: a table or a tree of partitions.
type place struct {
	conn    *pgx.Conn
	table   schema.Name
	from    string
	names   []string // of its columns
	targets []string // of these in the destination
}

func (p place) name(target string) string { return p.names[slices.Index(p.targets, target)] }

func (u *unit) lookSource(ctx context.Context, f lookFor) (map[string][]version, error) {
	found := map[string][]version{}
	for _, t := range u.parts {
		p := place{conn: u.sides.source, table: t.Name, from: from(t.Name, t.Kind, t.Filter)}
		for _, c := range t.Columns {
			p.names, p.targets = append(p.names, c.Name), append(p.targets, c.Target)
		}
		if err := u.look(ctx, p, f, found); err != nil {
			return nil, fmt.Errorf("read rows of %s in the source: %w", t.Name, err)
		}
	}
	return found, nil
}

func (u *unit) lookDestination(ctx context.Context, f lookFor) (map[string][]version, error) {
	found := map[string][]version{}
	p := place{conn: u.sides.destination, table: u.pair.target, from: u.target.from(u.pair.target)}
	for _, c := range u.target.columns {
		p.names = append(p.names, c.name)
	}
	p.targets = p.names
	if err := u.look(ctx, p, f, found); err != nil {
		return nil, fmt.Errorf("read rows of %s in the destination: %w", u.pair.target, err)
	}
	return found, nil
}

func (t *target) from(name schema.Name) string {
	if t.partitions {
		return name.String()
	}
	return "ONLY " + name.String()
}

// lookBytes bounds what is asked for at once.
const lookBytes = 1 << 20

// look adds the versions of suspects to those that were found.
func (u *unit) look(ctx context.Context, p place, f lookFor, found map[string][]version) error {
	query := u.lookQuery(p, f.lock)
	wanted, seen := map[string]bool{}, map[string]bool{}
	for _, s := range f.suspects {
		wanted[s.text] = true
	}
	for rest := f.suspects; len(rest) > 0; {
		n, keys, err := u.keys(p, rest)
		if err != nil {
			return err
		}
		rest = rest[n:]
		result := p.conn.PgConn().ExecParams(ctx, query, [][]byte{keys}, nil, nil, nil)
		for result.NextRow() {
			values := result.Values()
			v := version{part: string(values[0]), tid: string(values[1]), image: string(values[3]), row: make(map[string]*string, len(p.targets))}
			v.id = v.part + v.tid + "@" + string(values[2])
			for i, target := range p.targets {
				if raw := values[4+i]; raw != nil {
					text := string(raw)
					v.row[target] = &text
				} else {
					v.row[target] = nil
				}
			}
			// What is equal to a key need not be the same, under a collation for which case does not matter for example.
			if text := u.textOf(v.row); wanted[text] && !seen[v.id] {
				seen[v.id] = true
				found[text] = append(found[text], v)
				if err := u.hold(v.row); err != nil {
					_, _ = result.Close() // the rest is thrown away
					return err
				}
			}
		}
		if _, err := result.Close(); err != nil {
			return err
		}
	}
	return nil
}

// keys are the values that the first of the suspects are found by, as the JSON that lookQuery takes.
func (u *unit) keys(p place, suspects []*suspect) (n int, text []byte, err error) {
	var b strings.Builder
	for b.WriteByte('['); n < len(suspects) && b.Len() < lookBytes; n++ {
		row := make(map[string]*string, len(suspects[n].values))
		for _, c := range u.identity() {
			row[p.name(c.target)] = suspects[n].values[c.target]
		}
		if n > 0 {
			b.WriteByte(',')
		}
		encoded, err := json.Marshal(row)
		if err != nil {
			return 0, nil, err
		}
		b.Write(encoded)
	}
	b.WriteByte(']')
	return n, []byte(b.String()), nil
}

// lookQuery gives place, version, image and all columns of rows. Their keys come as JSON, which is read into the table's own row type and
// so by the input functions of its columns. Columns are called by their position, since any name may be one of the table's.
//
// Rows are found by the operators of the key's columns and so by its index, but where an operator may be one that only a search_path
// finds, by a hash.
func (u *unit) lookQuery(p place, lock bool) string {
	name := func(target string) string { return p.name(target) }
	inner := []string{"tableoid::pg_catalog.regclass", "ctid", "xmin", fmt.Sprintf(u.sides.hash, image(u.columns, name))}
	outer := []string{"t.part", "t.tid", "t.version", "t.image"}
	aliases := []string{"part", "tid", "version", "image"}
	for i, n := range p.names {
		inner, aliases = append(inner, pgx.Identifier{n}.Sanitize()), append(aliases, fmt.Sprintf("c%d", i))
		outer = append(outer, fmt.Sprintf("t.c%d", i))
	}
	var keys, names, joins []string
	if plain := !slices.ContainsFunc(u.key, func(c column) bool { return c.text }); u.key != nil && plain {
		for i, c := range u.key {
			keys, names = append(keys, pgx.Identifier{p.name(c.target)}.Sanitize()), append(names, fmt.Sprintf("k%d", i))
			joins = append(joins, fmt.Sprintf("t.c%d = k.k%d", slices.Index(p.targets, c.target), i))
		}
	} else {
		hash := fmt.Sprintf(u.sides.hash, image(u.identity(), name))
		inner, aliases = append(inner, hash), append(aliases, "hash")
		keys, names, joins = []string{hash}, []string{"hash"}, []string{"t.hash = k.hash"}
	}
	query := "SELECT " + strings.Join(outer, ", ") +
		" FROM (SELECT " + strings.Join(inner, ", ") + " FROM " + p.from + ") AS t (" + strings.Join(aliases, ", ") + ")" +
		", (SELECT " + strings.Join(keys, ", ") + " FROM pg_catalog.json_populate_recordset(NULL::" + p.table.String() + ", $1)) AS k (" + strings.Join(names, ", ") + ")" +
		" WHERE " + strings.Join(joins, " AND ")
	if lock {
		query += " FOR UPDATE OF t"
	}
	return query
}
