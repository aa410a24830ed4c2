package precheck_test

import (
	"pgsyncd/sync/precheck"
	"pgsyncd/sync/schema"
)

func public(name string) schema.Name { return schema.Name{Schema: "public", Name: name} }

// tables selects tables of schema public.
func tables(names ...string) schema.Selection {
	var sel schema.Selection
	for _, n := range names {
		sel.Tables = append(sel.Tables, public(n))
	}
	return sel
}

// ruled selects tables of which one has a rule.
func ruled(where string, columns []string, name string) func(*fixture) {
	return func(f *fixture) {
		f.in.Selection = tables(name)
		rule := schema.TableRule{Table: public(name), Where: where}
		for _, c := range columns {
			rule.Columns = append(rule.Columns, schema.ColumnRule{Name: c})
		}
		f.in.Selection.Rules = []schema.TableRule{rule}
	}
}

// full makes it a task without a stream.
func full(adjust func(*fixture)) func(*fixture) {
	return func(f *fixture) {
		adjust(f)
		f.in.Incremental = false
	}
}

var filterDefects = map[string]defect{
	"an unknown column in a filter": {
		item: "row filters", outcome: precheck.Failed, found: `column "cod" does not exist, at character 12 of the filter: cod`,
		adjust: ruled("id > 0 AND cod = 'x'", nil, "orders"), also: "filters in the stream,long values of filtered tables",
	},
	"a filter of a referenced table": {
		item: "referenced tables", outcome: precheck.ToConfirm, found: "filters leave out rows that they may reference: items_order_id_fkey of public.items references public.orders",
		adjust: full(func(f *fixture) {
			f.in.Selection.Rules = []schema.TableRule{{Table: public("orders"), Where: "id > 5"}}
		}),
	},
	"a filter that ends too early": {
		item: "row filters", outcome: precheck.Failed, found: `syntax error at or near ")", at the end of the filter: id >`, adjust: full(ruled("id >", nil, "orders")),
	},
	"a filter that is no condition": {
		item: "row filters", outcome: precheck.Failed, found: "must be type boolean", adjust: full(ruled("id", nil, "orders")),
	},
	"a filter that leaves its parentheses": {
		item: "row filters", outcome: precheck.Failed, found: "syntax error", adjust: full(ruled("id > 0) OR (id < 0", nil, "orders")),
	},
	"a filter that goes on behind its condition": {
		item: "row filters", outcome: precheck.Failed, found: "syntax error", adjust: full(ruled("true) LIMIT 1 --", nil, "orders")),
	},
	"a mutable function in a filter": {
		item: "filters in the stream", outcome: precheck.Failed, found: "invalid publication WHERE expression", adjust: ruled("id < random()", nil, "orders"),
		also: "long values of filtered tables",
	},
	"a filter and long values": {
		item: "long values of filtered tables", outcome: precheck.ToConfirm, found: "orders", fix: "source", adjust: ruled("id > 5", nil, "orders"),
	},
	"a filter of a partitioned table": {
		item: "filtered partitions", outcome: precheck.ToConfirm, found: `"public"."p"`, adjust: ruled("a > 0", nil, "p"),
		source: `SET ROLE {src}; CREATE TABLE p (a int PRIMARY KEY) PARTITION BY LIST (a); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); RESET ROLE`,
	},
	"a filter outside the replica identity": {
		item: "filters in the stream", outcome: precheck.Failed, found: "replica identity", fix: "source", adjust: ruled("code = 'x'", nil, "orders"),
		also: "long values of filtered tables",
	},
	"columns without the key": {
		item: "filters in the stream", outcome: precheck.Failed, found: `"id"`, adjust: ruled("", []string{"code"}, "orders"),
	},
	"columns without the key, full only": {
		item: "column lists", outcome: precheck.ToConfirm, found: `"public"."orders" ("id")`, adjust: full(ruled("", []string{"code"}, "orders")),
	},
}

var selectionDefects = map[string]defect{
	"several faults of a selection": {
		item: "selected tables", outcome: precheck.Failed, found: `schema "shop"`,
		adjust: func(f *fixture) {
			f.in.Selection = tables("order", "items", "orders")
			f.in.Selection.Schemas = []string{"shop"}
		},
	},
	"a view of a table that is not selected": {
		item: "dependencies of views", outcome: precheck.ToConfirm, found: "public.v uses public.orders",
		source: `SET ROLE {src}; CREATE VIEW v AS SELECT o.id FROM orders o JOIN items i ON i.order_id = o.id; RESET ROLE`, also: "referenced tables",
		adjust: func(f *fixture) {
			f.in.Selection = tables("items")
			f.in.Selection.Views = []schema.Name{public("v")}
		},
	},
	"a function that mentions a mapped name": {
		item: "names in functions", outcome: precheck.ToConfirm, found: `public.f() (orders)`,
		source: `SET ROLE {src}; CREATE FUNCTION f() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM Orders';
			CREATE FUNCTION g() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) AS orders2 FROM items'; RESET ROLE`,
		adjust: func(f *fixture) {
			f.in.Selection.Map.Relations = []schema.RelationMap{{From: public("orders"), To: public("shop orders")}}
		},
	},
	"a column that names objects": {
		item: "names in columns", outcome: precheck.ToConfirm, found: `"r" of "public"."regs" (regclass[])`,
		source: `SET ROLE {src}; CREATE TABLE regs (id int PRIMARY KEY, r regclass[]); RESET ROLE`,
		adjust: func(f *fixture) { f.in.Selection = tables("regs") },
	},
	"two tables become one": {
		item: "shared tables", outcome: precheck.ToConfirm, found: `"public"."orders" from "public"."orders", "public"."orders2"`,
		source: `SET ROLE {src}; CREATE TABLE orders2 (id bigint PRIMARY KEY, code text, note varchar(20)); RESET ROLE`,
		adjust: func(f *fixture) {
			f.in.Selection = tables("orders", "orders2")
			f.in.Selection.Map.Relations = []schema.RelationMap{{From: public("orders2"), To: public("orders")}}
		},
	},
	"existing table under the other name": {
		item: "existing objects", outcome: precheck.Failed, fix: "destination", found: `TABLE "new schema"."orders"`,
		dest: `CREATE SCHEMA "new schema"; GRANT ALL ON SCHEMA "new schema" TO {dst}; CREATE TABLE "new schema".orders (id int)`,
		adjust: func(f *fixture) {
			f.in.Selection.Map.Schemas = []schema.SchemaMap{{From: "public", To: "new schema"}}
		},
	},
	"no CREATE on the schema of another name": {
		item: "create objects", outcome: precheck.Failed, fix: "destination", found: `"closed"`, dest: `CREATE SCHEMA closed`,
		adjust: func(f *fixture) {
			f.in.Selection.Map.Schemas = []schema.SchemaMap{{From: "public", To: "closed"}}
		},
	},
	"a column of another name in a table to be used": {
		item: "existing objects", outcome: precheck.Failed, found: `has no column "label"`,
		dest: `SET ROLE {dst}; CREATE TABLE orders (id bigint PRIMARY KEY, code text); RESET ROLE`,
		adjust: func(f *fixture) {
			f.in.ExistingObjects, f.in.Selection = precheck.ExistingUse, tables("orders")
			f.in.Selection.Rules = []schema.TableRule{{Table: public("orders"), Columns: []schema.ColumnRule{{Name: "id"}, {Name: "code", As: "label"}}}}
		},
	},
	"a column that nobody fills": {
		item: "existing objects", outcome: precheck.Failed, found: `"must"`,
		dest:   `SET ROLE {dst}; CREATE TABLE orders (id bigint PRIMARY KEY, code text, note varchar(20), must int NOT NULL); RESET ROLE`,
		adjust: func(f *fixture) { f.in.ExistingObjects = precheck.ExistingAppend },
	},
	"types of every kind are missing": {
		item: "column types", outcome: precheck.Failed, fix: "destination", found: `"t y"."pair"`, also: "extensions",
		source: `CREATE SCHEMA "t y"; CREATE EXTENSION citext; CREATE TYPE "t y".mood AS ENUM ('a''b', 'c');
			CREATE DOMAIN "t y".short AS citext CONSTRAINT len CHECK (length(VALUE) < 9) NOT NULL DEFAULT 'x';
			CREATE TYPE "t y".pair AS (a "t y".mood[], "B b" "t y".short); CREATE TYPE "t y".span AS RANGE (SUBTYPE = int8);
			GRANT ALL ON SCHEMA "t y" TO {src}; SET ROLE {src}; CREATE TABLE m (id int PRIMARY KEY, p "t y".pair[], s "t y".span); RESET ROLE`,
		adjust: func(f *fixture) { f.in.Selection = tables("m") },
	},
	"a collation is missing": {
		item: "collations of columns", outcome: precheck.Failed, fix: "destination", found: `"public"."mine"`,
		source: `CREATE COLLATION mine (LOCALE = 'C'); SET ROLE {src}; CREATE TABLE m (id int PRIMARY KEY, x text COLLATE mine); RESET ROLE`,
		adjust: func(f *fixture) { f.in.Selection = tables("m") },
	},
}

// acceptedSelections pass.
var acceptedSelections = map[string]defect{
	"a filter on the key": {adjust: ruled("id > 100 -- new ones", nil, "items"), source: `ALTER TABLE items DROP CONSTRAINT items_order_id_fkey`},
	"a filter, all columns identify": {
		source: `ALTER TABLE orders REPLICA IDENTITY FULL`, adjust: ruled("code LIKE 'a%' OR note IS NULL", nil, "orders"),
	},
	"columns with the key": {adjust: ruled("", []string{"id", "note"}, "orders")},
	"any filter, full only": {
		adjust: full(ruled("id < random() AND EXISTS (SELECT FROM public.items i WHERE i.order_id = orders.id)", nil, "orders")),
	},
	"an empty schema where nothing may be created": {
		source: `CREATE SCHEMA void; DROP TABLE items`, dest: `CREATE SCHEMA void`,
	},
	"views of everything that a view can use": {
		source: `SET ROLE {src}; CREATE TYPE pair AS (a int, b int); CREATE SEQUENCE q; CREATE MATERIALIZED VIEW m AS SELECT id FROM orders;
			CREATE FUNCTION rows() RETURNS SETOF items LANGUAGE sql AS 'SELECT * FROM public.items';
			CREATE VIEW v AS SELECT (ROW(1, 2)::pair).a, last_value, i.id FROM q, m, rows() i; RESET ROLE`,
	},
	"one schema": {
		source: `CREATE TABLE public.unreadable (a int); CREATE SCHEMA shop AUTHORIZATION {src}; SET ROLE {src}; CREATE TYPE shop.mood AS ENUM ('a');
			CREATE TABLE shop.t (id int PRIMARY KEY, m shop.mood); CREATE FUNCTION shop.f() RETURNS int LANGUAGE sql AS 'SELECT 1'; RESET ROLE`,
		adjust: func(f *fixture) { f.in.Selection = schema.Selection{Schemas: []string{"shop"}} },
	},
	"a table of another name beside one of the old name": {
		dest: `CREATE TABLE orders (id int)`,
		adjust: func(f *fixture) {
			f.in.Selection = tables("orders")
			f.in.Selection.Map.Relations = []schema.RelationMap{{From: public("orders"), To: schema.Name{Schema: "arch ive", Name: "Orders"}}}
		},
	},
	"a mapped type": {
		source: `CREATE SCHEMA shop AUTHORIZATION {src}; SET ROLE {src}; CREATE TYPE shop.mood AS ENUM ('a');
			CREATE TABLE shop.t (id int PRIMARY KEY, m shop.mood); RESET ROLE`,
		dest: `CREATE SCHEMA "new shop" AUTHORIZATION {dst}; SET ROLE {dst}; CREATE TYPE "new shop".mood AS ENUM ('a');
			CREATE TABLE "new shop".t (id int PRIMARY KEY, m "new shop".mood); RESET ROLE`,
		adjust: func(f *fixture) {
			f.in.ExistingObjects = precheck.ExistingUse
			f.in.Selection = schema.Selection{Tables: []schema.Name{{Schema: "shop", Name: "t"}}}
			f.in.Selection.Map.Schemas = []schema.SchemaMap{{From: "shop", To: "new shop"}}
		},
	},
}
