package schema_test

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgsyncd/sync/schema"
	"pgsyncd/testenv"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
)

func columnNames(columns []schema.Column) []string {
	var names []string
	for _, c := range columns {
		names = append(names, c.Name)
	}
	return names
}

func TestReadTables(t *testing.T) {
	t.Parallel()
	src := newDatabase(t, testenv.Shared(t), testSQL(t, "rich.sql"))
	src.exec(t, "ANALYZE shop.customers")
	inv := src.read(t, schema.Selection{All: true})
	if !slices.IsSortedFunc(inv.Tables, func(a, b schema.Table) int { return a.Name.Compare(b.Name) }) {
		t.Error("tables are not in order")
	}
	get := func(name string) schema.Table {
		t.Helper()
		table := inv.Table(n(name))
		if table == nil {
			t.Fatalf("no table %s", name)
		}
		return *table
	}

	c := get("shop.customers")
	if diff := cmp.Diff([]string{"id", "name", "email", "mood", "attributes", "address", "age", "open", "shout", "code"},
		columnNames(c.Columns)); diff != "" {
		t.Errorf("columns: %s", diff)
	}
	if c.Rows != 42 || c.Bytes == 0 || c.Filenode == 0 || c.Kind != schema.KindTable || c.Root != c.Name || c.Unlogged {
		t.Errorf("customers: %+v", c)
	}
	if !slices.Equal(c.Key, []string{"id"}) || !slices.Equal(c.PrimaryKey, c.Key) || c.Identity != schema.IdentityDefault {
		t.Errorf("customers: identity %c, key %v, primary key %v", c.Identity, c.Key, c.PrimaryKey)
	}
	binary := map[string]bool{"id": true, "name": true, "mood": true, "age": true, "shout": true, "code": true}
	toast := map[string]bool{"name": true, "email": true, "attributes": true, "address": true, "open": true, "shout": true}
	for _, col := range c.Columns {
		if col.BinarySafe != binary[col.Name] || col.Toastable != toast[col.Name] {
			t.Errorf("column %s %s: binary safe %v, toastable %v", col.Name, col.Type, col.BinarySafe, col.Toastable)
		}
	}
	for i, want := range map[int]schema.Column{
		0: {Name: "id", Target: "id", Type: "integer", TypeOID: 23, Number: 1, NotNull: true, BinarySafe: true},
		8: {Name: "shout", Target: "shout", Type: "text", TypeOID: 25, Number: 10, Generated: "s", BinarySafe: true, Toastable: true},
	} {
		if diff := cmp.Diff(want, c.Columns[i]); diff != "" {
			t.Errorf("column (-want +got): %s", diff)
		}
	}
	if c.Columns[3].Type != "shop.mood" || c.Columns[4].Type != "public.hstore" {
		t.Errorf("types are not qualified: %s, %s", c.Columns[3].Type, c.Columns[4].Type)
	}

	leaf := get("archive.orders new 1")
	if leaf.Root != n("shop.orders") || !leaf.Partition || !slices.Equal(leaf.Parents, []schema.Name{n("archive.orders_new")}) {
		t.Errorf("partition: %+v", leaf)
	}
	root := get("shop.orders")
	if root.Kind != schema.KindPartitioned || root.Columns[0].Identity != "a" || !slices.Equal(root.Key, []string{"id", "at"}) {
		t.Errorf("partitioned table: %+v", root)
	}
	derived := get("shop.derived")
	if !slices.Equal(derived.Parents, []schema.Name{n("shop.base"), n("shop.other_base")}) || derived.Partition || derived.Root != derived.Name {
		t.Errorf("child: %+v", derived)
	}
	for name, want := range map[string]struct {
		identity byte
		key      []string
	}{
		"shop.base": {'f', nil}, "shop.other_base": {'n', nil}, "shop.identified": {'i', []string{"b", "a"}}, "shop.fleeting": {'d', nil},
	} {
		if got := get(name); got.Identity != want.identity || !slices.Equal(got.Key, want.key) {
			t.Errorf("%s: identity %c, key %v", name, got.Identity, got.Key)
		}
	}
	if !get("shop.fleeting").Unlogged || len(get("shop.no_columns").Columns) != 0 {
		t.Error("unlogged table or table without columns")
	}
}

func TestReadFollowsTheSnapshot(t *testing.T) {
	t.Parallel()
	src := newDatabase(t, testenv.Shared(t), "CREATE TABLE public.t (a int PRIMARY KEY, b text); INSERT INTO public.t VALUES (1, 'x')")
	tx, err := src.conn.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		t.Fatal(err)
	}
	before, err := schema.Read(t.Context(), tx, schema.Selection{All: true})
	if err != nil {
		t.Fatal(err)
	}
	src.cluster.Exec(t, src.db, "TRUNCATE public.t; ALTER TABLE public.t ADD COLUMN c int; CREATE TABLE public.u ()")
	after, err := schema.Read(t.Context(), tx, schema.Selection{All: true})
	if err != nil {
		t.Fatal(err)
	}
	// Sizes are of the moment; everything else is of the snapshot.
	before.Tables[0].Bytes, after.Tables[0].Bytes = 0, 0
	if diff := cmp.Diff(before.Tables, after.Tables); diff != "" {
		t.Errorf("inventory changed within a snapshot:\n%s", diff)
	}
	var filenode uint32
	if err := tx.QueryRow(t.Context(), "SELECT pg_catalog.pg_relation_filenode($1::oid)", after.Tables[0].OID).Scan(&filenode); err != nil {
		t.Fatal(err)
	}
	if filenode == after.Tables[0].Filenode {
		t.Error("a rewritten table cannot be told from its file node")
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestKeysThatIdentifyNothing(t *testing.T) {
	t.Parallel()
	src := newDatabase(t, testenv.Shared(t), `
		CREATE TABLE public.deferrable (a int PRIMARY KEY DEFERRABLE);
		CREATE TABLE public.covering (a int, b int, PRIMARY KEY (b) INCLUDE (a));
		CREATE TABLE public.lost (a int NOT NULL);
		CREATE UNIQUE INDEX lost_a ON public.lost (a);
		ALTER TABLE public.lost REPLICA IDENTITY USING INDEX lost_a;
		DROP INDEX public.lost_a;`)
	inv := src.read(t, schema.Selection{All: true})
	if d := inv.Table(n("public.deferrable")); d.Key != nil || !slices.Equal(d.PrimaryKey, []string{"a"}) {
		t.Errorf("deferrable key: %v, %v", d.Key, d.PrimaryKey)
	}
	if c := inv.Table(n("public.covering")); !slices.Equal(c.Key, []string{"b"}) {
		t.Errorf("covering key: %v", c.Key)
	}
	if l := inv.Table(n("public.lost")); l.Key != nil || l.Identity != schema.IdentityIndex {
		t.Errorf("dropped identity: %v, %c", l.Key, l.Identity)
	}
}

func TestBinarySafe(t *testing.T) {
	t.Parallel()
	src := newDatabase(t, testenv.Shared(t), `
		CREATE TYPE public.e AS ENUM ('a');
		CREATE DOMAIN public.d AS numeric;
		CREATE DOMAIN public.dd AS public.d;
		CREATE DOMAIN public.de AS public.e;
		CREATE DOMAIN public.dr AS regclass;
		CREATE TYPE public.c AS (a int);
		CREATE TYPE public.r AS RANGE (subtype = text);
		CREATE TABLE public.safe (a bool, b "char", c name, d int2[], e numeric, f jsonb, g timestamptz, h interval[], i bit(3), j varbit,
			k inet, l macaddr8, m uuid, n tsvector, o int4range, p tstzmultirange, q public.e, r public.dd, s public.de, t money, u float8,
			v line, w jsonpath, x information_schema.sql_identifier, y pg_lsn, z bytea[]);
		CREATE TABLE public.unsafe (a regclass, b public.c, c public.e[], d public.d[], e public.r, f xml, g public.dr, h regtype[],
			i public.c[], j pg_snapshot, k information_schema.sql_identifier[], l aclitem);`)
	inv := src.read(t, schema.Selection{All: true})
	for table, want := range map[string]bool{"public.safe": true, "public.unsafe": false} {
		for _, c := range inv.Table(n(table)).Columns {
			if c.BinarySafe != want {
				t.Errorf("type %s: binary safe %v", c.Type, c.BinarySafe)
			}
		}
	}
}

func TestSequences(t *testing.T) {
	t.Parallel()
	src := newDatabase(t, testenv.Shared(t), testSQL(t, "rich.sql"))
	inv := src.read(t, schema.Selection{All: true})
	list := map[string]schema.Sequence{}
	for _, s := range inv.Sequences {
		if s.Target != s.Name {
			t.Errorf("sequence %s has the target %s", s.Name, s.Target)
		}
		s.OID, s.Target = 0, schema.Name{}
		list[s.Name.Name] = s
	}
	customers, orders := n("shop.customers"), n("shop.orders")
	if diff := cmp.Diff(map[string]schema.Sequence{
		"numbers": {
			Name: n("shop.numbers"), Type: "smallint", LastValue: 168, IsCalled: true, Increment: -3, Min: -900, Max: 900, Cycle: true, Readable: true,
		},
		"untouched": {Name: n("shop.untouched"), Type: "bigint", LastValue: 17, Increment: 1, Min: 1, Max: 9223372036854775807, Readable: true},
		"customers_id_seq": {
			Name: n("shop.customers_id_seq"), Type: "integer", LastValue: 42, IsCalled: true, Increment: 1, Min: 1, Max: 2147483647,
			OwnedBy: &customers, OwnerColumn: "id", Readable: true,
		},
		"orders_id_seq": {
			Name: n("shop.orders_id_seq"), Type: "bigint", LastValue: 1000, Increment: 10, Min: 1, Max: 9223372036854775807,
			OwnedBy: &orders, OwnerColumn: "id", Identity: true, Readable: true,
		},
	}, list); diff != "" {
		t.Errorf("sequences (-want +got):\n%s", diff)
	}

	src.exec(t, "SELECT pg_catalog.setval('shop.untouched', 99, false)")
	got, err := schema.SequenceValues(t.Context(), src.conn, []schema.Name{n("shop.untouched"), n("shop.numbers")})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].LastValue != 99 || got[0].IsCalled || got[1].Name != n("shop.numbers") {
		t.Errorf("values: %+v", got)
	}
	if got, err := schema.SequenceValues(t.Context(), src.conn, nil); err != nil || len(got) != 0 {
		t.Errorf("no sequences: %v, %v", got, err)
	}
	_, err = schema.SequenceValues(t.Context(), src.conn, []schema.Name{n("shop.untouched"), n("shop.missing")})
	if err == nil || !strings.Contains(err.Error(), `"shop"."missing"`) {
		t.Errorf("a missing sequence: %v", err)
	}
}

func TestSequencesWithoutPrivilege(t *testing.T) {
	t.Parallel()
	src := newDatabase(t, testenv.Shared(t), "CREATE SEQUENCE public.secret; CREATE SEQUENCE public.open; GRANT SELECT ON public.open TO PUBLIC")
	src.exec(t, "SET ROLE pg_monitor")
	inv := src.read(t, schema.Selection{All: true})
	if len(inv.Sequences) != 2 || !inv.Sequences[0].Readable || inv.Sequences[1].Readable {
		t.Errorf("sequences: %+v", inv.Sequences)
	}
	_, err := schema.SequenceValues(t.Context(), src.conn, []schema.Name{n("public.secret")})
	if err == nil || !strings.Contains(err.Error(), "privilege") {
		t.Errorf("unreadable sequence: %v", err)
	}
}

func TestManySequences(t *testing.T) {
	t.Parallel()
	src := newDatabase(t, testenv.Shared(t), `DO $$ BEGIN FOR i IN 1..450 LOOP
		EXECUTE format('CREATE SEQUENCE public.s%s START %s', i, i); END LOOP; END $$`)
	list := src.read(t, schema.Selection{All: true}).Sequences
	for _, s := range list {
		if s.Name.Name != "s"+strconv.FormatInt(s.LastValue, 10) || s.IsCalled {
			t.Errorf("sequence %+v", s)
		}
	}
	if len(list) != 450 {
		t.Errorf("%d sequences", len(list))
	}
}

func TestSelection(t *testing.T) {
	t.Parallel()
	src := newDatabase(t, testenv.Shared(t), `
		CREATE SCHEMA shop; CREATE SCHEMA sys;
		CREATE TABLE shop.orders (a serial); CREATE TABLE shop.customers (a int); CREATE TABLE public.items (a int); CREATE TABLE sys.t (a int);
		CREATE SEQUENCE shop.free`)
	for _, test := range []struct {
		table, reason, hint string
	}{
		{"shop.orders", "", ""},
		{"shop.oders", "does not exist", `Did you mean "shop"."orders"?`},
		{"shop.Orders", "does not exist", `Did you mean "shop"."orders"?`},
		{"public.customers", "does not exist", `Did you mean "shop"."customers"?`},
		{"public.nothing_like_it", "does not exist", ""},
		{"sys.t", `schema "sys" is not synchronized`, ""},
	} {
		sel := schema.Selection{Tables: []schema.Name{n("public.items"), n(test.table)}}
		inv := src.read(t, sel)
		err := sel.Validate(inv)
		if test.reason == "" {
			if err != nil || len(inv.Tables) != 2 || len(inv.Sequences) != 1 {
				t.Errorf("%s: %v, %d tables, %d sequences", test.table, err, len(inv.Tables), len(inv.Sequences))
			}
			continue
		}
		var wrong *schema.SelectionError
		if !errors.As(err, &wrong) || wrong.Name != n(test.table) || !strings.Contains(err.Error(), test.reason) || wrong.Hint() != test.hint {
			t.Errorf("%s: error %v, hint %q", test.table, err, wrong.Hint())
		}
	}
}
