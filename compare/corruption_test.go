package compare_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgsyncd/catalog"
	"pgsyncd/compare"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
)

// pools are types with values that differ from each other, however alike they look or compare. NULL comes with each.
var pools = []struct {
	typ    string
	values []string
}{
	{"smallint", []string{"0", "1", "-1"}},
	{"bigint", []string{"5000000000", "705032705", "0", "-1"}},
	{"numeric", []string{"1", "1.0", "1.00", "NaN", "0", "0.0", "100000000000000000000000000000000000000.1"}},
	{"float8", []string{"0", "-0", "NaN", "Infinity", "0.1", "0.10000000000000002", "5e-324"}},
	{"float4", []string{"0", "-0", "NaN", "0.1", "0.10000001"}},
	{"text", []string{"", " ", "a", "A", "a ", "NULL", "\\N", "\u00e9", "e\u0301", "{}", "1.0"}},
	{"text", []string{"", "a", "b", "''", "\t", "\n"}},
	{"text COLLATE ci", []string{"Ada", "ADA", "ada"}},
	{"varchar(5)", []string{"", "a", "a "}},
	{"char(5)", []string{"", "a", "b"}},
	{"bytea", []string{`\x`, `\x00`, `\x0000`, `\x30`}},
	{"boolean", []string{"true", "false"}},
	{"date", []string{"2024-02-29", "infinity", "-infinity", "0001-01-01 BC"}},
	{"time", []string{"00:00", "24:00", "23:59:59.999999"}},
	{"timetz", []string{"12:00+00", "13:00+01", "12:00+01"}},
	{"timestamp", []string{"2024-01-01 00:00:00.000001", "2024-01-01 00:00:00.000002", "infinity"}},
	{"timestamptz", []string{"2024-03-31 01:30+00", "2024-03-31 02:30+00", "-infinity"}},
	{"interval", []string{"1 day", "24 hours", "1 mon", "30 days"}},
	{"uuid", []string{"00000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-000000000001"}},
	{"json", []string{`{"a":1}`, `{"a": 1}`, `{"a":1,"a":1}`, "null"}},
	{"jsonb", []string{`{"a":1}`, `{"a":1.0}`, "null", `""`}},
	{"jsonpath", []string{"$.a", "strict $.a"}},
	{"xml", []string{"<a/>", "<a></a>"}},
	{"inet", []string{"10.0.0.1", "10.0.0.1/8", "::1"}},
	{"cidr", []string{"10.0.0.0/8", "10.0.0.0/16"}},
	{"macaddr", []string{"08:00:2b:01:02:03", "08:00:2b:01:02:04"}},
	{"bit(3)", []string{"000", "001"}},
	{"varbit", []string{"", "0", "00"}},
	{"money", []string{"12.34", "12.35"}},
	{"point", []string{"(0,0)", "(-0,0)", "(NaN,0)"}},
	{"polygon", []string{"((0,0),(0,1),(1,1))", "((0,1),(1,1),(0,0))"}},
	{"circle", []string{"<(0,0),1>", "<(0,0),1.5>"}},
	{"tsvector", []string{"a:1", "a:1A", "a"}},
	{"tsquery", []string{"a & b", "b & a"}},
	{"pg_lsn", []string{"0/0", "0/1"}},
	{"oid", []string{"0", "4294967295"}},
	{`"char"`, []string{"", "a"}},
	{"name", []string{"", "a"}},
	{"regclass", []string{"pg_class", "pg_type"}},
	{"int[]", []string{"{}", "{1,2}", "{2,1}", "[0:1]={1,2}", "{{1,2}}", "{NULL}"}},
	{"text[]", []string{"{}", "{NULL}", `{"NULL"}`, `{""}`}},
	{"float8[]", []string{"{0}", "{-0}"}},
	{"int4range", []string{"empty", "[1,3]", "[1,)"}},
	{"numrange", []string{"[1.0,2]", "[1.00,2]", "[1.0,2)"}},
	{"int4multirange", []string{"{}", "{[1,2]}", "{[1,2],[5,6]}"}},
	{"mood", []string{"sad", "ok"}},
	{"mood[]", []string{"{sad,ok}", "{ok,sad}", "{}"}},
	{"pair", []string{"(1,x,ok)", "(1,,ok)", `(1,"",ok)`, "(,,)"}},
	{"pair[]", []string{`{"(1,x,ok)"}`, `{"(1,X,ok)"}`, "{NULL}"}},
	{"price", []string{"9.9", "9.90", "0"}},
	{"weight", []string{"0", "-0"}},
	{"moods", []string{"{ok}", "{sad}"}},
	{"span", []string{"[1,3]", "[1,3)", "[-0,3)", "[0,3)"}},
}

// shape is a table by its key.
type shape struct {
	name, columns, more string // of the key; the constraint
	types               []string
	value               func(n int) []string
}

// shapes are tables by their keys. A key has a value for every number.
var shapes = []shape{
	{"bigints", "k bigint", "PRIMARY KEY (k)", []string{"bigint"}, func(n int) []string { return []string{strconv.Itoa(n - 50)} }},
	{"composite", "b text, a int", "PRIMARY KEY (a, b)", []string{"text", "int"}, func(n int) []string {
		return []string{strings.Repeat("x", n%3), strconv.Itoa(n / 3)}
	}},
	{"texts", "k text", "PRIMARY KEY (k)", []string{"text"}, func(n int) []string { return []string{fmt.Sprintf("Ä %d'", n)} }},
	{"insensitive", "k text COLLATE ci", "PRIMARY KEY (k)", []string{"text"}, func(n int) []string { return []string{fmt.Sprintf("Key%d", n)} }},
	{"uuids", "k uuid", "PRIMARY KEY (k)", []string{"uuid"}, func(n int) []string { return []string{fmt.Sprintf("00000000-0000-4000-8000-%012d", n)} }},
	{"times", "k timestamptz", "PRIMARY KEY (k)", []string{"timestamptz"}, func(n int) []string {
		return []string{time.Date(2024, 3, 31, 0, n, 0, n*1000, time.UTC).Format(time.RFC3339Nano)}
	}},
	{"numerics", "k numeric", "PRIMARY KEY (k)", []string{"numeric"}, func(n int) []string { return []string{fmt.Sprintf("%d.%0*d", n, n%3+1, 0)} }},
	{"identity", "k mood, n int", "UNIQUE (n, k)", []string{"mood", "int"}, func(n int) []string {
		return []string{[]string{"sad", "ok", "happy"}[n%3], strconv.Itoa(n / 3)}
	}},
	{"parts", "k int", "PRIMARY KEY (k)", []string{"int"}, func(n int) []string { return []string{strconv.Itoa(n)} }},
	{"keyless", "k int", "", []string{"int"}, func(n int) []string { return []string{strconv.Itoa(n)} }},
}

// row is a row of a model: the texts of its key, and of every pool which value it takes, -1 for NULL.
type row struct {
	key    []string
	values []int
}

func (r row) clone() row { return row{slices.Clone(r.key), slices.Clone(r.values)} }

// model is a table as it is to be on both sides.
type model struct {
	shape               int
	source, destination []row
	used                map[int]bool // rows that are corrupted
	next                int          // number of the next key
}

const (
	rowsPerTable = 160
	corruptions  = 1000
)

func (m *model) random(r *rand.Rand) row {
	values := make([]int, len(pools))
	for i, p := range pools {
		values[i] = r.IntN(len(p.values)+1) - 1
	}
	m.next++
	return row{shapes[m.shape].value(m.next), values}
}

// pick is a row that is not corrupted yet, -1 when there is none.
func (m *model) pick(r *rand.Rand) int {
	for range 1000 {
		if i := r.IntN(rowsPerTable); !m.used[i] {
			m.used[i] = true
			return i
		}
	}
	return -1
}

// corrupt changes the destination in one way, which it names. Removed rows become ones without key.
func (m *model) corrupt(r *rand.Rand) string {
	i := m.pick(r)
	if i < 0 {
		return ""
	}
	d := m.destination
	pool := r.IntN(len(pools))
	switch r.IntN(9) {
	case 0:
		d[i].values[pool] = (d[i].values[pool]+2+r.IntN(len(pools[pool].values)))%(len(pools[pool].values)+1) - 1
		return "another " + pools[pool].typ
	case 1:
		if d[i].values[pool] < 0 {
			d[i].values[pool] = 0
			return "a value for NULL"
		}
		d[i].values[pool] = -1
		return "NULL for a value"
	case 2:
		d[i].key = nil
		return "missing row"
	case 3:
		m.destination = append(d, m.random(r))
		return "extra row"
	case 4:
		if o := m.pick(r); o >= 0 && !slices.Equal(d[i].values, d[o].values) {
			d[i].values, d[o].values = d[o].values, d[i].values
			return "rows swapped"
		}
	case 5:
		if o := m.pick(r); o >= 0 && d[i].values[pool] != d[o].values[pool] {
			d[i].values[pool], d[o].values[pool] = d[o].values[pool], d[i].values[pool]
			return "values swapped"
		}
	case 6:
		m.next++
		d[i].key = shapes[m.shape].value(m.next)
		return "another key"
	case 7:
		for c := range d[i].values {
			d[i].values[c] = -1
		}
		return "all NULL"
	default:
		if shapes[m.shape].more == "" {
			if o := m.pick(r); o >= 0 {
				d[i] = d[o].clone()
				return "one duplicated, one lost"
			}
		}
	}
	delete(m.used, i)
	return m.corrupt(r)
}

// TestCorruptions plants a thousand corruptions and expects exactly what they changed, row by row and column by column.
func TestCorruptions(t *testing.T) {
	t.Parallel()
	l := setup(t)
	l.exec(l.s, typesSource)
	l.exec(l.d, typesDestination)
	for _, conn := range []*pgx.Conn{l.s, l.d} {
		l.exec(conn, "SET client_min_messages = error")
	}
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("SEED=%d", seed)
	r := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // repeatable
	models := make([]*model, len(shapes))
	for i := range shapes {
		m := &model{shape: i, used: map[int]bool{}}
		for n := range rowsPerTable {
			row := m.random(r)
			if shapes[i].more == "" && n%4 == 3 {
				row = m.source[r.IntN(n)].clone()
			}
			m.source = append(m.source, row)
			m.destination = append(m.destination, row.clone())
		}
		models[i] = m
	}
	kinds, planted := map[string]int{}, 0
	for planted < corruptions {
		if kind := models[planted%len(models)].corrupt(r); kind != "" {
			kinds[kind]++
		} else if kind := models[r.IntN(len(models))].corrupt(r); kind != "" {
			kinds[kind]++
		}
		planted++
	}
	t.Logf("%d corruptions: %v", planted, kinds)
	texts := l.texts()
	for _, m := range models {
		l.load(l.s, m, m.source, r)
		l.load(l.d, m, m.destination, r)
	}
	defer l.serve()()
	run := l.await(l.queue(catalog.CompareRun{Type: compare.TypeValues, Options: map[string]string{"max_reported_rows": "10000"}}))
	if run.State != compare.StateFinished {
		t.Fatalf("%s %s", run.State, run.Error)
	}
	for _, m := range models {
		want := m.differences(texts)
		got := l.listed(run.ID, shapes[m.shape].name)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (SEED=%d):\n%s", shapes[m.shape].name, seed, diff)
		}
		if len(want) == 0 {
			t.Errorf("%s has no differences", shapes[m.shape].name)
		}
	}
}

// texts are how the values of pools print.
func (l *lab) texts() [][]string {
	l.Helper()
	conn, err := l.source.Connect(l.Context(), "test")
	if err != nil {
		l.Fatal(err)
	}
	defer func() { _ = conn.Close(l.Context()) }()
	all := make([][]string, len(pools))
	for i, p := range pools {
		all[i] = make([]string, len(p.values))
		for n, v := range p.values {
			typ := strings.TrimSuffix(p.typ, " COLLATE ci")
			switch typ {
			case "regclass":
				v = "pg_catalog." + v
			case "mood", "mood[]", "pair", "pair[]", "price", "weight", "moods", "span":
				typ = "public." + typ
			}
			if err := conn.QueryRow(l.Context(), "SELECT format('%s', "+literal(v)+"::"+typ+")", pgx.QueryExecModeSimpleProtocol).Scan(&all[i][n]); err != nil {
				l.Fatalf("%s %q: %v", p.typ, v, err)
			}
			if slices.Contains(all[i][:n], all[i][n]) {
				l.Fatalf("%s: %q is there twice", p.typ, all[i][n])
			}
		}
	}
	return all
}

func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// load makes a table of a model, with its rows in random order.
func (l *lab) load(conn *pgx.Conn, m *model, rows []row, r *rand.Rand) {
	l.Helper()
	s := shapes[m.shape]
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE TABLE %s (%s", s.name, strings.ReplaceAll(s.columns, ",", " NOT NULL,")+" NOT NULL")
	for i, p := range pools {
		fmt.Fprintf(&b, ", c%d %s", i, p.typ)
	}
	if s.more != "" {
		b.WriteString(", " + s.more)
	}
	b.WriteString(")")
	switch s.name {
	case "parts":
		b.WriteString(" PARTITION BY HASH (k); CREATE TABLE parts_0 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 0);" +
			"CREATE TABLE parts_1 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 1)")
	case "identity":
		b.WriteString("; ALTER TABLE identity REPLICA IDENTITY USING INDEX identity_n_k_key")
	}
	b.WriteString(";\n")
	for _, i := range r.Perm(len(rows)) {
		if rows[i].key == nil {
			continue
		}
		b.WriteString("INSERT INTO " + s.name + " VALUES (")
		for k, v := range rows[i].key {
			b.WriteString(literal(v) + "::" + s.types[k] + ", ")
		}
		for n, v := range rows[i].values {
			if n > 0 {
				b.WriteString(", ")
			}
			if v < 0 {
				b.WriteString("NULL")
			} else {
				b.WriteString(literal(pools[n].values[v]))
			}
		}
		b.WriteString(");\n")
	}
	l.exec(conn, b.String())
}

// differences are what a comparison must list of a model, as listed prints it.
func (m *model) differences(texts [][]string) []string {
	s := shapes[m.shape]
	keyless := s.more == ""
	identity := func(r row) string {
		if keyless {
			return fmt.Sprint(r.key, r.values)
		}
		return strings.Join(r.key, "|")
	}
	left := map[string][]row{}
	for _, r := range m.destination {
		if r.key != nil {
			left[identity(r)] = append(left[identity(r)], r)
		}
	}
	var list []string
	for _, r := range m.source {
		others := left[identity(r)]
		if len(others) == 0 {
			list = append(list, s.describe("missing", texts, &r, nil))
			continue
		}
		left[identity(r)] = others[1:]
		if !slices.Equal(r.values, others[0].values) {
			list = append(list, s.describe("different", texts, &r, &others[0]))
		}
	}
	for _, rows := range left {
		for _, r := range rows {
			list = append(list, s.describe("extra", texts, nil, &r))
		}
	}
	slices.Sort(list)
	return list
}

// describe prints what is to be listed of a row.
func (s shape) describe(kind string, texts [][]string, source, destination *row) string {
	listed := func(r *row) map[string]*string {
		if r == nil {
			return nil
		}
		values := s.key(*r)
		for i, v := range r.values {
			values[fmt.Sprintf("c%d", i)] = nil
			if v >= 0 {
				values[fmt.Sprintf("c%d", i)] = &texts[i][v]
			}
		}
		return values
	}
	var key map[string]*string
	switch {
	case s.more == "":
	case source != nil:
		key = s.key(*source)
	default:
		key = s.key(*destination)
	}
	var columns []string
	if source != nil && destination != nil {
		for i := range source.values {
			if source.values[i] != destination.values[i] {
				columns = append(columns, fmt.Sprintf("c%d", i))
			}
		}
	}
	return printRow(kind, key, columns, listed(source), listed(destination))
}

// key is how the key of a row prints.
func (s shape) key(r row) map[string]*string {
	values := map[string]*string{}
	for i, c := range strings.Split(s.columns, ",") {
		text := r.key[i]
		if s.name == "times" {
			at, _ := time.Parse(time.RFC3339Nano, text)
			text = at.Format("2006-01-02 15:04:05.999999") + "+00"
		}
		values[strings.Fields(c)[0]] = &text
	}
	return values
}

func printRow(kind string, key map[string]*string, columns []string, source, destination map[string]*string) string {
	text, err := json.Marshal([]any{kind, key, columns, source, destination})
	if err != nil {
		panic(err)
	}
	return string(text)
}

// listed are the rows of a table that a run lists, printed and in order. Their numbers agree with what is counted.
func (l *lab) listed(run int64, name string) []string {
	l.Helper()
	table := `"public"."` + name + `"`
	rows, err := l.catalog.CompareRows(l.Context(), run, table, math.MaxInt32)
	if err != nil {
		l.Fatal(err)
	}
	counted := map[string]int{"missing": 0, "extra": 0, "different": 0}
	var list []string
	for _, r := range rows {
		list = append(list, printRow(r.Kind, r.Key, r.Columns, r.SourceRow, r.DestinationRow))
		counted[r.Kind]++
	}
	var missing, extra, other int
	if err := l.catalog.Pool().QueryRow(l.Context(), `SELECT rows_missing, rows_extra, rows_different FROM sync.sync_compare_tables
		WHERE run_id = $1 AND source_table = $2`, run, table).Scan(&missing, &extra, &other); err != nil {
		l.Fatal(err)
	}
	if want := map[string]int{"missing": missing, "extra": extra, "different": other}; !cmp.Equal(counted, want) {
		l.Errorf("%s: listed are %v, counted %v", name, counted, want)
	}
	slices.Sort(list)
	return list
}
