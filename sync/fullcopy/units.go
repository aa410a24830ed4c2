package fullcopy

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"

	"pgsyncd/sync/schema"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
)

// unit is a destination table with every source table that feeds it; of a partition tree the whole. All of it is copied
// under one snapshot, so that the stream can be told from which position on it continues.
type unit struct {
	name     schema.Name // of the destination table
	kind     byte        // of the destination table, as in pg_class.relkind
	lsn      pglogrepl.LSN
	roots    []*schema.Table // source tables that are mapped to it; of partition trees the topmost selected
	feeds    []*feed
	fresh    bool         // emptied before it is loaded; else rows are added to what is there
	whole    bool         // its rows meet others under a unique constraint: all of them come in one transaction
	staged   bool         // and those that collide are left out
	blocked  bool         // a foreign key of another table refers to it: TRUNCATE would be refused
	unloaded atomic.Int32 // loads not committed yet
	failed   atomic.Bool
	misfit   error // why the destination's table cannot take the rows
}

// feed is one source table that holds rows, and where these go.
type feed struct {
	source     *schema.Table
	lineage    []schema.Name // the source, and the partitioned tables above it
	target     schema.Name   // the unit's table, or its partition of the leaf's name
	kind       byte          // of the target
	from, into []string      // quoted columns of the source and of the target, pairwise
	always     bool          // the target has an identity column that is always generated
	binary     bool
}

// load is what one transaction brings: the whole of a unit, or one part of one feed.
type load struct {
	unit   *unit
	pieces []piece
	alone  bool // no other load belongs to the unit
	freeze bool // it is the only one that fills its target, a plain table: the rows can be frozen at once
	bytes  int64
}

// piece is one COPY.
type piece struct {
	feed  *feed
	where string // empty for the whole table
	part  string // for messages
}

// maxParts bounds how many parts a table is cut into.
const maxParts = 1024

// topmost is the partitioned table of the inventory that a table belongs to, or the table itself. Its target names the unit.
func topmost(inv *schema.Inventory, t *schema.Table) *schema.Table {
	names := ancestry(inv, t)
	return inv.Table(names[len(names)-1])
}

// readDestination takes the inventory of the destination's tables that those of the source are mapped to.
func (j *job) readDestination(ctx context.Context, inv *schema.Inventory) (*schema.Inventory, error) {
	var wanted []schema.Name
	for _, t := range inv.Tables {
		wanted = append(wanted, t.Target)
	}
	slices.SortFunc(wanted, schema.Name.Compare)
	dest, err := schema.Read(ctx, j.dst, schema.Selection{Tables: slices.Compact(wanted)})
	if err != nil {
		return nil, fmt.Errorf("destination: %w", err)
	}
	return dest, nil
}

// makeUnits groups the tables that keep accepts into units. dest is the inventory of the destination.
func (j *job) makeUnits(inv, dest *schema.Inventory, lsn pglogrepl.LSN, keep func(schema.Name) bool) (units []*unit) {
	byName := map[schema.Name]*unit{}
	for i := range inv.Tables {
		t := &inv.Tables[i]
		root := topmost(inv, t)
		if !keep(root.Name) {
			continue
		}
		name := root.Target
		u, target := byName[name], dest.Table(name)
		if u == nil {
			u = &unit{name: name, lsn: lsn, fresh: j.cfg.ExistingObjects != ExistingAppend}
			byName[name], units = u, append(units, u)
		}
		if t == root {
			u.roots = append(u.roots, t)
		}
		if target == nil {
			target = &schema.Table{Name: name}
			u.misfit = &UnitError{name, "does not exist", "Create it, or drop what has its name in the destination."}
		}
		u.kind = target.Kind
		if t.Kind == schema.KindPartitioned {
			continue // holds no rows
		}
		if t.Unlogged && j.standby {
			j.log.Warn("a standby has no rows of unlogged tables", "table", t.Name.String())
			continue
		}
		if leaf := dest.Table(t.Target); leaf != nil && leaf.Kind == schema.KindTable && topmost(dest, leaf).Name == name {
			target = leaf
		}
		f := &feed{source: t, lineage: ancestry(inv, t), target: target.Name, kind: target.Kind}
		u.feeds = append(u.feeds, f)
		if err := j.pairColumns(f, t.Columns, target.Columns); err != nil && u.misfit == nil {
			u.misfit = err
		}
	}
	return units
}

// pairColumns pairs the columns by their name in the destination and chooses the format. Columns that the destination
// generates are left to it, columns that it alone has take their default.
func (j *job) pairColumns(f *feed, source, target []schema.Column) error {
	f.binary = j.encoding == "" && j.cfg.Format != FormatText
	for _, c := range source {
		name := pgx.Identifier{c.Target}.Sanitize()
		i := slices.IndexFunc(target, func(o schema.Column) bool { return o.Name == c.Target })
		if i < 0 {
			return &UnitError{f.target, "lacks column " + name, "Add the column."}
		}
		o := target[i]
		switch {
		case o.Generated != "" && c.Generated != "":
			continue
		case o.Generated != "":
			return &UnitError{f.target, "generates column " + name + ", which the source stores", "Make it an ordinary column."}
		case c.Generated != "" && j.cfg.incremental():
			return &UnitError{f.target, "stores column " + name + ", which the source generates and does not send", "Make it a generated column."}
		}
		f.from, f.into = append(f.from, pgx.Identifier{c.Name}.Sanitize()), append(f.into, name)
		f.always = f.always || o.Identity == "a"
		if c.BinarySafe && o.BinarySafe && c.Type == o.Type {
			continue
		}
		if f.binary = false; j.cfg.Format == FormatBinary {
			reason := "has column " + name + ", of type " + c.Type + ", which is not safe to copy in binary format"
			return &UnitError{f.target, reason, "Set copy_format to auto."}
		}
	}
	return nil
}

// makeLoads cuts units into loads, the largest first. conn sees the snapshot.
func (j *job) makeLoads(ctx context.Context, conn *pgx.Conn, units []*unit) ([]*load, error) {
	var loads []*load
	above := j.splitAbove(units)
	for _, u := range units {
		var mine []*load
		targets := map[schema.Name]int{}
		for _, f := range u.feeds {
			pieces := []piece{{feed: f}}
			if u.fresh && !u.whole {
				var err error
				if pieces, err = j.split(ctx, conn, f, above); err != nil {
					return nil, fmt.Errorf("cut %s into parts: %w", f.source.Name, err)
				}
			}
			for _, p := range pieces {
				mine = append(mine, &load{unit: u, pieces: []piece{p}, bytes: f.source.Bytes / int64(len(pieces))})
				targets[f.target]++
			}
		}
		if !u.fresh || u.whole || len(mine) == 0 {
			mine = []*load{merge(u, mine)}
		}
		for _, l := range mine {
			l.alone = len(mine) == 1
			// Rows routed through the partitioned table would need locks that a TRUNCATE of one partition holds.
			l.freeze = u.fresh && !u.whole && !u.blocked && len(l.pieces) == 1 && l.pieces[0].feed.kind == schema.KindTable &&
				targets[l.pieces[0].feed.target] == 1 && (targets[u.name] == 0 || len(mine) == 1)
		}
		u.unloaded.Store(int32(len(mine)))
		loads = append(loads, mine...)
	}
	slices.SortStableFunc(loads, func(a, b *load) int { return cmp.Compare(b.bytes, a.bytes) })
	return loads, nil
}

// merge makes one load of all, in the order of the source tables: rows added to those of others must come in one
// transaction, because after a crash nobody could tell them apart.
func merge(u *unit, loads []*load) *load {
	all := &load{unit: u}
	for _, l := range loads {
		all.pieces = append(all.pieces, l.pieces...)
		all.bytes += l.bytes
	}
	return all
}

// splitAbove is the size above which a table is cut into parts. Parts cannot be frozen, which costs about as much as a
// further connection gains; so a table stays whole unless it would take well over one worker's share of all rows.
func (j *job) splitAbove(units []*unit) int64 {
	if j.cfg.SplitAbove <= 0 || j.cfg.Workers < 2 {
		return math.MaxInt64
	}
	var total int64
	for _, u := range units {
		for _, f := range u.feeds {
			total += f.source.Bytes
		}
	}
	return max(j.cfg.SplitAbove, total/int64(j.cfg.Workers)*3/2)
}

// split cuts a large table into ranges of ctid, or of an integer key before servers could scan those (14). The outer ranges
// are open, so that the parts cover the table whatever the estimates say.
func (j *job) split(ctx context.Context, conn *pgx.Conn, f *feed, above int64) ([]piece, error) {
	t := f.source
	if t.Bytes <= above {
		return []piece{{feed: f}}, nil
	}
	n := uint64(min(maxParts, (t.Bytes+j.cfg.SplitAbove-1)/j.cfg.SplitAbove))
	column, from, to, format := "ctid", int64(0), int64(0), "'(%d,0)'"
	var err error
	if j.sourceVersion >= 140000 {
		err = conn.QueryRow(ctx, `SELECT pg_catalog.pg_relation_size($1::oid) / pg_catalog.current_setting('block_size')::int8`, t.OID).Scan(&to)
	} else if column, format = integerKey(t), "%d"; column != "" {
		err = conn.QueryRow(ctx, fmt.Sprintf(`SELECT coalesce(min(%[1]s), 0)::int8, coalesce(max(%[1]s), 0)::int8 FROM ONLY %[2]s`,
			column, t.Name)).Scan(&from, &to)
	}
	if err != nil {
		return nil, err
	}
	// The difference of two keys may exceed int64, not uint64. No bound lies beyond to, so none overflows.
	step := uint64(to-from)/n + 1
	if n = uint64(to-from)/step + 1; n == 1 {
		return []piece{{feed: f}}, nil
	}
	pieces := make([]piece, n)
	for i := range pieces {
		var bounds []string
		if i > 0 {
			bounds = append(bounds, column+" >= "+fmt.Sprintf(format, from+int64(step*uint64(i))))
		}
		if i < len(pieces)-1 {
			bounds = append(bounds, column+" < "+fmt.Sprintf(format, from+int64(step*uint64(i+1))))
		}
		pieces[i] = piece{feed: f, where: strings.Join(bounds, " AND "), part: fmt.Sprintf(" part %d of %d", i+1, n)}
	}
	return pieces, nil
}

// integerKey is the quoted column of a primary key that is one integer, or empty.
func integerKey(t *schema.Table) string {
	if len(t.PrimaryKey) != 1 {
		return ""
	}
	for _, c := range t.Columns {
		if c.Name == t.PrimaryKey[0] && (c.Type == "smallint" || c.Type == "integer" || c.Type == "bigint") {
			return pgx.Identifier{c.Name}.Sanitize()
		}
	}
	return ""
}

// statements are the two COPY commands of a piece. A filter may name its table, with or without the schema.
func (j *job) statements(p piece, target schema.Name, freeze bool) (out, in string) {
	f := p.feed
	options := "FORMAT text"
	if f.binary {
		options = "FORMAT binary"
	}
	if j.encoding != "" {
		options += ", ENCODING '" + j.encoding + "'"
	}
	var conditions []string
	if f.source.Filter != "" {
		conditions = append(conditions, "("+f.source.Filter+"\n)") // it may end in a comment
	}
	if p.where != "" {
		conditions = append(conditions, p.where)
	}
	where, list := "", ""
	if len(conditions) > 0 {
		where = " WHERE " + strings.Join(conditions, " AND ")
	}
	if len(f.into) > 0 {
		list = " (" + strings.Join(f.into, ", ") + ")"
	}
	out = fmt.Sprintf("COPY (SELECT %s FROM ONLY %s%s) TO STDOUT (%s)", strings.Join(f.from, ", "), f.source.Name, where, options)
	if freeze {
		options += ", FREEZE true"
	}
	return out, fmt.Sprintf("COPY %s%s FROM STDIN (%s)", target, list, options)
}
