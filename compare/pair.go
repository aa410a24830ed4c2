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

// pair is what is compared as one: a table of the destination and the tables of the source whose rows it has.
type pair struct {
	sources []schema.Table // of partition trees the topmost; one, unless several are mapped to one name
	target  schema.Name
	apart   []schema.Name // further tables that are mapped to it, in a run that counts each by itself
}

// name lists the source tables.
func (p pair) name() string { return enumerate(tableNames(p.sources)) }

func tableNames(tables []schema.Table) (names []schema.Name) {
	for _, t := range tables {
		names = append(names, t.Name)
	}
	return names
}

func enumerate(names []schema.Name) string {
	texts := make([]string, len(names))
	for i, n := range names {
		texts[i] = n.String()
	}
	return strings.Join(texts, ", ")
}

// pairs lists what is compared: ordinary tables and, of a tree of partitions, what is topmost in the selection.
func (j *job) pairs(ctx context.Context) ([]pair, error) {
	var selection schema.Selection
	if err := json.Unmarshal(j.task.Definition, &selection); err != nil {
		return nil, fmt.Errorf("read selection of task %s: %w", j.task.Name, err)
	}
	conn, err := j.source.Connect(ctx, j.application)
	if err != nil {
		return nil, err
	}
	defer (&sides{source: conn}).close(ctx)
	inv, err := schema.Read(ctx, conn, selection)
	if err != nil {
		return nil, err
	}
	j.gaps = len(selection.Except.Schemas)+len(selection.Except.Tables)+len(selection.Except.Patterns) > 0 ||
		slices.ContainsFunc(inv.Excluded, func(x schema.Excluded) bool { return strings.HasSuffix(x.Kind, "TABLE") })
	j.trees = map[schema.Name][]schema.Table{}
	j.tops = map[schema.Name]schema.Name{}
	var tops []schema.Table
	for _, t := range inv.Tables {
		var top schema.Name
		for p := &t; p != nil; p = parent(inv, p) {
			top = p.Name
			j.trees[top] = append(j.trees[top], t)
		}
		j.tops[t.Name] = top
		if top == t.Name {
			tops = append(tops, t)
		}
	}
	for _, name := range selection.Tables {
		if inv.Table(name) == nil { // reading it will say what is wrong
			tops = append(tops, schema.Table{Name: name, Target: selection.Target(name), Kind: schema.KindTable})
		}
	}
	pairs := j.group(tops)
	if j.run.Tables == nil {
		return pairs, nil
	}
	return j.wanted(inv, pairs)
}

// group puts tables of the same name in the destination together, unless each is to be counted by itself.
func (j *job) group(tops []schema.Table) (pairs []pair) {
	groups := map[schema.Name][]schema.Table{}
	for _, t := range tops {
		groups[t.Target] = append(groups[t.Target], t)
	}
	for _, t := range tops {
		group := groups[t.Target]
		switch {
		case len(group) > 1 && j.run.Type == TypeRows && !j.options.ManyToOne:
			others := slices.DeleteFunc(tableNames(group), func(n schema.Name) bool { return n == t.Name })
			pairs = append(pairs, pair{sources: []schema.Table{t}, target: t.Target, apart: others})
		case group[0].Name == t.Name:
			pairs = append(pairs, pair{sources: group, target: t.Target})
		}
	}
	return pairs
}

// wanted are the tables that the run names; a partition may be among them. What shares a table of the destination with others
// comes with these.
func (j *job) wanted(inv *schema.Inventory, pairs []pair) ([]pair, error) {
	var wanted []pair
	listed := map[string]bool{}
	for _, name := range j.run.Tables {
		i := slices.IndexFunc(inv.Tables, func(t schema.Table) bool { return t.Name.String() == name })
		if i < 0 {
			return nil, fmt.Errorf("table %s does not belong to task %s", name, j.task.Name)
		}
		t := inv.Tables[i]
		p := pair{sources: []schema.Table{t}, target: t.Target}
		for _, of := range pairs {
			has := func(n schema.Name) bool { return slices.Contains(tableNames(of.sources), n) }
			if has(t.Name) || has(j.tops[t.Name]) && (len(of.sources) > 1 || of.apart != nil) {
				p = of
			}
		}
		if !listed[p.name()] {
			listed[p.name()] = true
			wanted = append(wanted, p)
		}
	}
	return wanted, nil
}

// parent is the partitioned table that t is a partition of, nil when there is none in the inventory.
func parent(inv *schema.Inventory, t *schema.Table) *schema.Table {
	if !t.Partition || len(t.Parents) == 0 {
		return nil
	}
	return inv.Table(t.Parents[0])
}

// parts are the tables of the source that are read for a pair, each with its own condition and columns. A tree is read through its
// root where all of its leaves have the same, and all of them are selected.
func (j *job) parts(p pair) (parts []schema.Table) {
	for _, t := range p.sources {
		var leaves []schema.Table
		alike := !j.gaps
		for _, leaf := range j.trees[t.Name] {
			if leaf.Kind == schema.KindTable {
				leaves = append(leaves, leaf)
				alike = alike && leaf.Filter == t.Filter && slices.Equal(targets(leaf.Columns), targets(t.Columns))
			}
		}
		switch {
		case t.Kind != schema.KindPartitioned || alike:
			parts = append(parts, t)
		case len(leaves) > 0:
			parts = append(parts, leaves...)
		default:
			t.Filter = "false" // what partitions it has are not selected
			parts = append(parts, t)
		}
	}
	return parts
}

// targets are the names of columns in the destination, in order.
func targets(columns []schema.Column) (names []string) {
	for _, c := range columns {
		names = append(names, c.Target)
	}
	slices.Sort(names)
	return names
}

// column is one that both sides of a pair have; its value enters the image of a row.
type column struct {
	target string
	text   bool   // as text
	typ    uint32 // OID of its type where that is the same everywhere, else 0
}

// columns are those that all parts have, in the order of the first, and the names of the others.
func columns(parts []schema.Table) (common []column, others []string) {
	for i, t := range parts {
		for _, c := range t.Columns {
			everywhere := true
			col := column{target: c.Target, text: asText(c)}
			for _, o := range parts {
				other := find(o.Columns, c.Target)
				everywhere = everywhere && other != nil
				// The binary form of a value depends on its type.
				col.text = col.text || other != nil && (asText(*other) || other.TypeOID != c.TypeOID)
			}
			if !col.text {
				col.typ = c.TypeOID
			}
			switch {
			case everywhere && i == 0:
				common = append(common, col)
			case !everywhere && !slices.Contains(others, c.Target):
				others = append(others, c.Target)
			}
		}
	}
	return common, others
}

func find(columns []schema.Column, target string) *schema.Column {
	for i := range columns {
		if columns[i].Target == target {
			return &columns[i]
		}
	}
	return nil
}

// quoted lists names of columns for a remark.
func quoted(names []string) string {
	list := make([]string, len(names))
	for i, n := range names {
		list[i] = pgx.Identifier{n}.Sanitize()
	}
	return strings.Join(list, ", ")
}
