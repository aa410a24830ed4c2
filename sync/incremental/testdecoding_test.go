package incremental

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"pgsyncd/sync/schema"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pglogrepl"
	"pgregory.net/rapid"
)

// textColumn is a column as a test prints it.
type textColumn struct {
	name, typeName string
	value          []byte
}

func quoteIdentifier(name string) string {
	for i, c := range name {
		if c != '_' && (c < 'a' || c > 'z') && (i == 0 || c < '0' || c > '9') {
			return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
		}
	}
	return name
}

// printTuple prints as tuple_to_stringinfo does.
func printTuple(columns []textColumn) string {
	var b strings.Builder
	for _, c := range columns {
		b.WriteString(" " + quoteIdentifier(c.name) + "[" + c.typeName + "]:")
		switch {
		case c.value == nil:
			b.WriteString("null")
		case isUnchanged(c.value):
			b.WriteString("unchanged-toast-datum")
		case c.typeName == "integer" || c.typeName == "numeric":
			b.Write(c.value)
		case c.typeName == "bit varying":
			b.WriteString("B'" + string(c.value) + "'")
		case c.typeName == "boolean":
			b.WriteString(map[string]string{"t": "true", "f": "false"}[string(c.value)])
		default:
			b.WriteString("'" + strings.ReplaceAll(string(c.value), "'", "''") + "'")
		}
	}
	return b.String()
}

func textColumns() *rapid.Generator[[]textColumn] {
	name := rapid.OneOf(rapid.SampledFrom([]string{"id", `a"b`, "x]:y", "new-tuple", "é", "A", " ", "table", "oid"}), rapid.StringMatching(`[a-z" \[\]:'.,]{1,8}`))
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) textColumn {
		c := textColumn{name: name.Draw(t, "name")}
		c.typeName = rapid.SampledFrom([]string{"integer", "numeric", "text", "integer[]", "boolean", "bit varying", `public."a]:b"[]`, `"char"`, "timestamp with time zone"}).Draw(t, "type")
		switch rapid.IntRange(0, 4).Draw(t, "kind") {
		case 0:
			return c
		case 1:
			c.value = unchanged
			return c
		}
		switch c.typeName {
		case "integer":
			c.value = fmt.Append(nil, rapid.Int32().Draw(t, "value"))
		case "numeric":
			c.value = []byte(rapid.SampledFrom([]string{"NaN", "-Infinity", "1.50", "-0.0001"}).Draw(t, "value"))
		case "boolean":
			c.value = []byte(rapid.SampledFrom([]string{"t", "f"}).Draw(t, "value"))
		case "bit varying":
			c.value = []byte(rapid.StringMatching(`[01]*`).Draw(t, "value"))
		default:
			c.value = []byte(rapid.OneOf(rapid.String(), rapid.StringMatching(`['\\ a:\[\]]*`), rapid.SampledFrom([]string{"null", "unchanged-toast-datum", "true"})).Draw(t, "value"))
		}
		return c
	}), 1, 6)
}

// shapeOf is what the catalogs would tell of the columns.
func shapeOf(columns []textColumn, identity byte) *shape {
	s := &shape{relation: &relation{name: schema.Name{Schema: "public", Name: "t"}, identity: identity, counter: &tableCounter{}}}
	for _, c := range columns {
		s.add(column{name: c.name, key: identity == 'f'}, []byte(" "+quoteIdentifier(c.name)+"["+c.typeName+"]:"), c.typeName, false)
	}
	return s
}

func values(columns []textColumn) tuple {
	var row tuple
	for _, c := range columns {
		row = append(row, c.value)
	}
	return row
}

func TestTextIsReadAsPrinted(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		columns := textColumns().Draw(t, "columns")
		line := printTuple(columns)
		labels, ok := (&text{[]byte(line)}).labels()
		if !ok || len(labels) != len(columns) {
			t.Fatalf("labels of %q: %v", line, labels)
		}
		for i, l := range labels {
			if l.name != columns[i].name || l.typeName != columns[i].typeName {
				t.Fatalf("label %q for %+v", l, columns[i])
			}
		}
		if columns[0].name == "oid" {
			return
		}
		s := shapeOf(columns, 'd')
		row := make(tuple, len(columns))
		if err := s.newTuple(&text{[]byte(line)}, row); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if diff := cmp.Diff(values(columns), row); diff != "" {
			t.Fatalf("%q: %s", line, diff)
		}
		for i, v := range row {
			if isUnchanged(v) != isUnchanged(columns[i].value) {
				t.Fatalf("%q: column %d", line, i)
			}
		}
		// An old row leaves NULLs out.
		var there []textColumn
		seen := map[string]bool{}
		for _, c := range columns {
			if seen[c.name] {
				return
			}
			seen[c.name] = true
			if c.value != nil {
				there = append(there, c)
			}
		}
		old := make(tuple, len(columns))
		in := &text{[]byte(printTuple(there) + newLabel)}
		if err := shapeOf(columns, 'f').oldTuple(in, old); err != nil || string(in.rest) != newLabel {
			t.Fatalf("old row: %v, %q is left", err, in.rest)
		}
		if diff := cmp.Diff(values(columns), old); diff != "" {
			t.Fatalf("old row: %s", diff)
		}
	})
}

// textDecoder knows the table public.t (id integer, v text) and needs no catalogs as long as nothing else comes.
func textDecoder() *testDecoding {
	s := shapeOf([]textColumn{{name: "id", typeName: "integer"}, {name: "v", typeName: "text"}}, 'd')
	s.columns[0].key, s.keys = true, 1
	return &testDecoding{
		counters: newCounters(), shapes: map[string]*shape{"public.t": s}, fresh: map[string]bool{}, floor: 10,
		read: map[schema.Name]*shape{},
	}
}

func TestDecodeLines(t *testing.T) {
	t.Parallel()
	d := textDecoder()
	var got []string
	for i, line := range []string{
		"BEGIN 700",
		"table public.t: INSERT: id[integer]:1 v[text]:'it''s \\ [x]:'",
		"table public.t: UPDATE: id[integer]:1 v[text]:unchanged-toast-datum",
		"table public.t: UPDATE: old-key: id[integer]:1 new-tuple: id[integer]:2 v[text]:null",
		"message: transactional: 1 prefix: p, sz: 1 content:x",
		"table public.t: DELETE: id[integer]:2",
		"table public.t, public.t: TRUNCATE: restart_seqs cascade",
		"table public.t: TRUNCATE: (no-flags)",
		"COMMIT 700 (at 2026-01-31 12:00:00.5+00)",
	} {
		e, ok, err := d.line(t.Context(), pglogrepl.LSN(11+1000*i), []byte(line))
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if ok {
			got = append(got, fmt.Sprintf("%s %q %q %t", e.kind, e.old, e.new, e.restart))
		}
	}
	want := []string{
		`begin [] [] false`, `insert [] ["1" "it's \\ [x]:"] false`, `update [] ["1" "u"] false`, `update ["1" ""] ["2" ""] false`,
		`delete ["2" ""] [] false`, `truncate [] [] true`, `truncate [] [] false`, `commit [] [] false`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeRefusesLines(t *testing.T) {
	t.Parallel()
	for _, lines := range [][]string{
		{""},
		{"PREPARE TRANSACTION 'x'"},
		{"BEGIN"},
		{"BEGIN x"},
		{"BEGIN 1", "BEGIN 2"},
		{"COMMIT 1 (at 2026-01-31 12:00:00+00)"},
		{"BEGIN 1", "COMMIT 2 (at 2026-01-31 12:00:00+00)"},
		{"BEGIN 1", "COMMIT 1"},
		{"BEGIN 1", "COMMIT 1 (at now)"},
		{"table public.t: INSERT: id[integer]:1 v[text]:'x'"},
		{"BEGIN 1", "table public.t: INSERT: id[integer]:1 v[text]:'x"},
		{"BEGIN 1", "table public.t: MERGE: x"},
		{"BEGIN 1", "table t: INSERT: id[integer]:1"},
		{"BEGIN 1", "table public.t: DELETE: id[integer]:1 new-tuple:"},
		{"BEGIN 1", "table public.t: TRUNCATE: twice"},
	} {
		d := textDecoder()
		var err error
		for i, line := range lines {
			_, _, err = d.line(t.Context(), pglogrepl.LSN(20+i), []byte(line))
		}
		if err == nil {
			t.Errorf("%q is accepted", lines)
		}
	}
}

// What lies between positions of copies is told by the last transaction before each, and verified.
func TestMarksStandForCommitRecords(t *testing.T) {
	t.Parallel()
	d := textDecoder()
	d.marks = []mark{{lsn: 15}, {lsn: 100, xid: 2}, {lsn: 110, xid: 2}, {lsn: 200, xid: 3}}
	d.cross(0)
	var starts []uint64
	run := func(xid, end int) error {
		e, _, err := d.line(t.Context(), 1, fmt.Appendf(nil, "BEGIN %d", xid))
		if err != nil {
			t.Fatal(err)
		}
		starts = append(starts, uint64(e.tx.start))
		_, _, err = d.line(t.Context(), pglogrepl.LSN(end), fmt.Appendf(nil, "COMMIT %d (at 2026-01-31 12:00:00+00)", xid))
		return err
	}
	for _, tx := range [][2]int{{1, 50}, {2, 100}, {4, 150}} {
		if err := run(tx[0], tx[1]); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]uint64{15, 50, 110}, starts); diff != "" {
		t.Error(diff)
	}
	if err := run(5, 201); err == nil {
		t.Error("a transaction beyond a mark comes before the one that is noted there")
	}
}

func FuzzDecodeText(f *testing.F) {
	f.Add([]byte("table public.t: UPDATE: old-key: id[integer]:1 new-tuple: id[integer]:2 v[text]:'it''s'"))
	f.Add([]byte("table public.t: INSERT: oid[oid]:5 id[integer]:1 v[text]:null"))
	f.Add([]byte(`table public.t, "a.b"."c""d": TRUNCATE: restart_seqs cascade`))
	f.Add([]byte("COMMIT 700 (at 2026-01-31 12:00:00.5+00)"))
	f.Add([]byte(` "a"[public."x]:y"[]]:B'01' n[numeric]:NaN b[boolean]:true`))
	f.Fuzz(func(t *testing.T, line []byte) {
		for _, read := range []func(*text){
			func(in *text) { in.labels() }, func(in *text) { in.name() }, func(in *text) { in.relation() },
			func(in *text) { newLabels(in.rest) },
			func(in *text) { _, _, _ = parseCommit(string(in.rest)) },
		} {
			read(&text{line})
		}
		d := textDecoder()
		for _, verb := range []string{" INSERT:", " UPDATE:", " DELETE:"} {
			_, tuple, found := bytes.Cut(line, []byte(verb))
			if !found {
				continue
			}
			e := event{kind: map[string]kind{" INSERT:": kindInsert, " UPDATE:": kindUpdate, " DELETE:": kindDelete}[verb]}
			if err := d.tuples(d.shapes["public.t"], &e, tuple); err == nil && e.new != nil && len(e.new) != 2 {
				t.Fatalf("%d values", len(e.new))
			}
		}
	})
}
