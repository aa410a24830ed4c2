package precheck_test

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"pgsyncd/sync/precheck"
	"pgsyncd/sync/schema"
	"pgsyncd/testenv"

	"github.com/jackc/pgx/v5"
)

// defect is something wrong with one pair of databases. {src} and {dst} stand for
// the roles, {srcdb} and {dstdb} for the databases.
type defect struct {
	item    string
	outcome precheck.Outcome
	source  string
	dest    string
	adjust  func(*fixture)
	found   string // part of what must be found
	fix     string // "source" or "destination": the statements of the suggestion, run there, mend it
	also    string // items that must not pass either, separated by commas
}

var defects = map[string]defect{
	"no SELECT": {
		item: "read tables", outcome: precheck.Failed, fix: "source", found: `"public"."foreign"`, also: "create publication",
		source: `CREATE TABLE "foreign" (id int PRIMARY KEY)`,
	},
	"no USAGE": {
		item: "read tables", outcome: precheck.Failed, fix: "source", found: `"hid den"."t"`, also: "create publication",
		source: `CREATE SCHEMA "hid den"; CREATE TABLE "hid den".t (id int PRIMARY KEY)`,
	},
	"no SELECT on a sequence": {
		item: "read sequences", outcome: precheck.Failed, fix: "source", found: `"hidden"."q"`,
		source: `CREATE SCHEMA hidden; CREATE SEQUENCE hidden.q`,
	},
	"policies": {
		item: "row-level security", outcome: precheck.Failed, fix: "source", found: "orders",
		source: `ALTER TABLE orders ENABLE ROW LEVEL SECURITY; ALTER TABLE orders FORCE ROW LEVEL SECURITY`,
	},
	"not the owner": {
		item: "create publication", outcome: precheck.Failed, fix: "source", found: `"public"."theirs"`,
		source: `CREATE ROLE {srcdb}_owner; GRANT CREATE ON SCHEMA public TO {srcdb}_owner;
			SET ROLE {srcdb}_owner; CREATE TABLE theirs (id int PRIMARY KEY); GRANT SELECT ON theirs TO {src}; RESET ROLE`,
		adjust: func(f *fixture) { f.in.Decoder = precheck.PluginPgoutput },
	},
	"no CREATE on the source database": {
		item: "create publication", outcome: precheck.Failed, fix: "source", found: "may not create",
		source: `REVOKE CREATE ON DATABASE {srcdb} FROM {src}`,
		adjust: func(f *fixture) { f.in.Decoder = precheck.PluginPgoutput },
	},
	"no REPLICATION": {
		item: "replication connection", outcome: precheck.Failed, fix: "source", found: "REPLICATION",
		source: `ALTER ROLE {src} NOREPLICATION`,
	},
	"no CREATE on the destination database": {
		item: "create schemas", outcome: precheck.Failed, fix: "destination", found: `"pgsyncd"`,
		dest: `REVOKE CREATE ON DATABASE {dstdb} FROM {dst}`,
	},
	"no CREATE on a schema": {
		item: "create objects", outcome: precheck.Failed, fix: "destination", found: `"public"`,
		dest: `REVOKE ALL ON SCHEMA public FROM {dst}, PUBLIC`,
	},
	"an event trigger": {
		item: "superuser objects", outcome: precheck.Failed, found: "EVENT TRIGGER e", fix: "destination",
		source: `CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER e ON sql_drop EXECUTE FUNCTION f()`,
	},
	"session_replication_role": {
		item: "session_replication_role", outcome: precheck.Failed, fix: "destination", found: "FOREIGN KEY",
		dest: `REVOKE SET ON PARAMETER session_replication_role FROM {dst}`,
	},
	"triggers that fire while rows are copied": {
		item: "session_replication_role", outcome: precheck.ToConfirm, found: "TRIGGER g ON public.orders",
		dest: `REVOKE SET ON PARAMETER session_replication_role FROM {dst}; SET ROLE {dst};
			CREATE TABLE orders (id bigint PRIMARY KEY, code text, note varchar(20));
			CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
			CREATE TRIGGER g BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION f(); RESET ROLE`,
		adjust: func(f *fixture) { f.in.ExistingObjects, f.in.Incremental = precheck.ExistingUse, false },
	},
	"an ENABLE ALWAYS trigger": {
		item: "triggers that always fire", outcome: precheck.ToConfirm, found: "TRIGGER g ON public.orders",
		source: `CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
			CREATE TRIGGER g AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION f(); ALTER TABLE orders ENABLE ALWAYS TRIGGER g`,
	},
	"a table that does not exist": {
		item: "selected tables", outcome: precheck.Failed, found: `"public"."order"`,
		adjust: func(f *fixture) {
			f.in.Selection = schema.Selection{Tables: []schema.Name{{Schema: "public", Name: "order"}}}
		},
	},
	"no key": {
		item: "replica identity", outcome: precheck.Failed, fix: "source", found: `"public"."key less"`,
		source: `SET ROLE {src}; CREATE TABLE "key less" (a int); RESET ROLE`,
	},
	"identity nothing": {
		item: "replica identity", outcome: precheck.Failed, fix: "source", found: "set to nothing",
		source: `ALTER TABLE orders REPLICA IDENTITY NOTHING`,
	},
	"deferrable key": {
		item: "replica identity", outcome: precheck.Failed, fix: "source", found: "deferrable",
		source: `SET ROLE {src}; CREATE TABLE d (a int PRIMARY KEY DEFERRABLE); RESET ROLE`,
	},
	"a partition without a key": {
		item: "replica identity", outcome: precheck.Failed, fix: "source", found: `"public"."p1"`,
		source: `SET ROLE {src}; CREATE TABLE p (a int) PARTITION BY LIST (a); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); RESET ROLE`,
	},
	"unlogged": {
		item: "unlogged tables", outcome: precheck.ToConfirm, fix: "source", found: `"public"."u"`,
		source: `SET ROLE {src}; CREATE UNLOGGED TABLE u (a int PRIMARY KEY); RESET ROLE`,
	},
	"a disabled trigger of a partition": {
		item: "partition triggers", outcome: precheck.ToConfirm, found: "g ON public.p1",
		source: `SET ROLE {src}; CREATE TABLE p (a int PRIMARY KEY) PARTITION BY LIST (a); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
			CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
			CREATE TRIGGER g AFTER INSERT ON p FOR EACH ROW EXECUTE FUNCTION f(); ALTER TABLE p1 DISABLE TRIGGER g; RESET ROLE`,
	},
	"a referenced table is not selected": {
		item: "referenced tables", outcome: precheck.ToConfirm, found: "references public.orders",
		adjust: func(f *fixture) {
			f.in.Selection = schema.Selection{Tables: []schema.Name{{Schema: "public", Name: "items"}}}
		},
	},
	"a type is missing": {
		item: "column types", outcome: precheck.Failed, found: `"public"."mood"`, fix: "destination",
		source: `SET ROLE {src}; CREATE TYPE mood AS ENUM ('a'); CREATE TABLE m (id int PRIMARY KEY, x mood[]); RESET ROLE`,
		adjust: func(f *fixture) {
			f.in.Selection = schema.Selection{Tables: []schema.Name{{Schema: "public", Name: "m"}}}
		},
	},
	"a sequence near its end": {
		item: "sequences", outcome: precheck.ToConfirm, fix: "source", found: "2147483646",
		source: `SET ROLE {src}; CREATE SEQUENCE q AS int; SELECT setval('q', 2147483646); RESET ROLE`,
	},
	"existing table": {
		item: "existing objects", outcome: precheck.Failed, fix: "destination", found: `TABLE "public"."orders"`,
		dest: `CREATE TABLE orders (id int)`,
	},
	"existing index, view, type and function": {
		item: "existing objects", outcome: precheck.Failed, fix: "destination", found: `FUNCTION "public"."f(integer)"`,
		source: `SET ROLE {src}; CREATE INDEX orders_note ON orders (note); CREATE VIEW v AS SELECT 1 AS a; CREATE TYPE mood AS ENUM ('a');
			CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'; RESET ROLE`,
		dest: `CREATE TABLE orders_note (a int); CREATE VIEW v AS SELECT 2 AS b; CREATE DOMAIN mood AS text;
			CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 2'; CREATE FUNCTION f(text) RETURNS int LANGUAGE sql AS 'SELECT 3'`,
	},
	"rows in a table to be used": {
		item: "existing objects", outcome: precheck.Failed, fix: "destination", found: "not empty",
		dest:   `SET ROLE {dst}; CREATE TABLE orders (id bigint, code text, note varchar(20)); INSERT INTO orders VALUES (1); RESET ROLE`,
		adjust: func(f *fixture) { f.in.ExistingObjects = precheck.ExistingUse },
	},
	"other columns in a table to be appended to": {
		item: "existing objects", outcome: precheck.Failed, found: "bigint",
		dest:   `SET ROLE {dst}; CREATE TABLE orders (id int, code text); RESET ROLE`,
		adjust: func(f *fixture) { f.in.ExistingObjects = precheck.ExistingAppend },
	},
	"a generated column that is stored": {
		item: "existing objects", outcome: precheck.Failed, found: "is not generated",
		source: `SET ROLE {src}; CREATE TABLE g (a int PRIMARY KEY, b int GENERATED ALWAYS AS (1) STORED); RESET ROLE`,
		dest:   `SET ROLE {dst}; CREATE TABLE g (a int PRIMARY KEY, b int); RESET ROLE`,
		adjust: func(f *fixture) { f.in.ExistingObjects = precheck.ExistingUse },
	},
	"a table to be used may not be written": {
		item: "write tables", outcome: precheck.Failed, fix: "destination", found: "orders", also: "existing objects",
		dest:   `CREATE TABLE orders (id bigint, code text, note varchar(20))`,
		adjust: func(f *fixture) { f.in.ExistingObjects = precheck.ExistingUse },
	},
	"a table to be replaced is not owned": {
		item: "existing objects", outcome: precheck.Failed, fix: "destination", found: "does not own",
		dest:   `CREATE TABLE orders (id bigint)`,
		adjust: func(f *fixture) { f.in.ExistingObjects = precheck.ExistingReplace },
	},
	"unsupported": {
		item: "unsupported objects", outcome: precheck.ToConfirm, found: `FOREIGN DATA WRAPPER "wrap"`,
		source: `CREATE FOREIGN DATA WRAPPER wrap`,
	},
	"an extension that only a superuser may create": {
		item: "extensions", outcome: precheck.Failed, fix: "destination", found: "pageinspect",
		source: `CREATE EXTENSION pageinspect`,
	},
	"lc_monetary": {
		item: "lc_monetary", outcome: precheck.ToConfirm, fix: "destination", found: "POSIX",
		source: `SET ROLE {src}; CREATE TABLE m (id int PRIMARY KEY, x money); RESET ROLE; ALTER DATABASE {srcdb} SET lc_monetary = 'C.UTF-8'`,
		dest:   `ALTER DATABASE {dstdb} SET lc_monetary = 'POSIX'`,
	},
	"the task's slot": {
		item: "slots", outcome: precheck.Failed, fix: "source", found: "pgsyncd_",
		source: `SELECT pg_create_logical_replication_slot('pgsyncd_{srcdb}', 'pgoutput')`,
	},
	"the role's CONNECTION LIMIT": {
		item: "source connections", outcome: precheck.Failed, fix: "source", found: "limit of 3",
		source: `ALTER ROLE {src} CONNECTION LIMIT 3`,
	},
	"the database's CONNECTION LIMIT": {
		item: "destination connections", outcome: precheck.Failed, fix: "destination", found: "limit of 4",
		dest: `ALTER DATABASE {dstdb} CONNECTION LIMIT 4`,
	},
	"the same database": {
		item: "different databases", outcome: precheck.Failed, found: "same database",
		adjust: func(f *fixture) { f.in.Destination = f.parse(f.src, f.srcDB, f.srcRole) },
		also:   "existing objects,session_replication_role,create objects",
	},
	"no such destination database": {
		item: "create database", outcome: precheck.Failed, found: "may not create it", fix: "destination",
		adjust: func(f *fixture) {
			f.in.Destination, f.in.CreateDatabase = f.in.Destination.WithDatabase("Not there "+f.dstDB), true
		},
	},
	"connections": {
		item: "source connections", outcome: precheck.Failed, found: "the task needs 1006", also: "destination connections",
		adjust: func(f *fixture) { f.in.CopyWorkers = 1000 },
	},
	"connections that apply": {
		item: "destination connections", outcome: precheck.Failed, found: "the task needs 1002",
		adjust: func(f *fixture) { f.in.ApplyWorkers = 1000 },
	},
	"slots": {
		item: "replication slots", outcome: precheck.Failed, found: "needs 500", also: "WAL senders",
		adjust: func(f *fixture) { f.in.Slots = 500 },
	},
}

// merged joins tables of defects.
func merged(t *testing.T, tables ...map[string]defect) map[string]defect {
	t.Helper()
	all := map[string]defect{}
	for _, table := range tables {
		for name, d := range table {
			if _, ok := all[name]; ok {
				t.Fatalf("two defects are called %q", name)
			}
			all[name] = d
		}
	}
	return all
}

// statement finds the statements of a suggestion.
var statement = regexp.MustCompile(`(?m)(?:ALTER (?:TABLE|ROLE|DATABASE|SEQUENCE|DEFAULT PRIVILEGES)|GRANT|DROP|TRUNCATE|SELECT pg_|CREATE (?:SCHEMA|EXTENSION|TYPE|DOMAIN|COLLATION|ROLE))[^;…]*;`)

// put makes the defect.
func (f *fixture) put(d defect) {
	f.t.Helper()
	fill := strings.NewReplacer("{src}", f.srcRole, "{dst}", f.dstRole, "{srcdb}", f.srcDB, "{dstdb}", f.dstDB)
	if d.source != "" {
		f.source(fill.Replace(d.source))
	}
	if d.dest != "" {
		f.destination(fill.Replace(d.dest))
	}
	if d.adjust != nil {
		d.adjust(f)
	}
}

func TestDefects(t *testing.T) {
	t.Parallel()
	src, dst := testenv.SharedPair(t)
	for name, d := range merged(t, defects, filterDefects, selectionDefects, accountDefects, objectDefects) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t, src, dst)
			f.put(d)
			open := f.open()
			r, ok := open[d.item]
			if !ok || r.Outcome != d.outcome || !strings.Contains(r.Found, d.found) {
				t.Fatalf("%s: %+v, want %s with %q; open: %v", d.item, r, d.outcome, d.found, open)
			}
			if r.Suggestion == "" {
				t.Errorf("%s: nothing is suggested", d.item)
			}
			for item, r := range open {
				if item != d.item && !strings.Contains(","+d.also+",", ","+item+",") {
					t.Errorf("%s does not pass either: %s", item, r.Found)
				}
			}
			if d.fix == "" {
				return
			}
			conn := map[string]*pgx.Conn{"source": f.admin, "destination": f.dstAdmin}[d.fix]
			for _, sql := range statement.FindAllString(r.Suggestion, -1) {
				f.exec(conn, sql)
				if strings.HasPrefix(sql, "DROP DATABASE") || strings.Contains(sql, "CREATEDB") {
					break
				}
			}
			if r, ok := f.open()[d.item]; ok {
				t.Errorf("%s: the suggestion does not mend it: %+v", d.item, r)
			}
		})
	}
}

// TestAcceptedSituations are unusual and must pass nevertheless.
func TestAcceptedSituations(t *testing.T) {
	t.Parallel()
	src, dst := testenv.SharedPair(t)
	for name, d := range merged(t, acceptedSelections, map[string]defect{
		"identity full, no key": {source: `SET ROLE {src}; CREATE TABLE k (a text); ALTER TABLE k REPLICA IDENTITY FULL; RESET ROLE`},
		"no key, full only":     {source: `SET ROLE {src}; CREATE TABLE k (a text); RESET ROLE`, adjust: func(f *fixture) { f.in.Incremental = false }},
		"text key":              {source: `SET ROLE {src}; CREATE TABLE k (a text PRIMARY KEY, b text); RESET ROLE`},
		"role set to replica": {
			dest: `REVOKE SET ON PARAMETER session_replication_role FROM {dst}; ALTER ROLE {dst} SET session_replication_role = replica`,
		},
		"role may not be replica, full only": {
			dest:   `REVOKE SET ON PARAMETER session_replication_role FROM {dst}`,
			adjust: func(f *fixture) { f.in.Incremental = false },
		},
		"no triggers and no keys": {
			source: `ALTER TABLE items DROP CONSTRAINT items_order_id_fkey`,
			dest:   `REVOKE SET ON PARAMETER session_replication_role FROM {dst}`,
		},
		"trusted extension": {source: `CREATE EXTENSION hstore`},
		"generated and identity columns": {
			source: `SET ROLE {src}; CREATE TABLE g (a int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, b int GENERATED ALWAYS AS (1) STORED); RESET ROLE`,
		},
		"partitions": {
			source: `SET ROLE {src}; CREATE TABLE p (a int PRIMARY KEY) PARTITION BY LIST (a); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); RESET ROLE`,
		},
		"empty tables to be used": {
			dest:   `SET ROLE {dst}; CREATE TABLE orders (id bigint PRIMARY KEY, code text, note varchar(20), more int); RESET ROLE`,
			adjust: func(f *fixture) { f.in.ExistingObjects = precheck.ExistingUse },
		},
		"rows in tables to be appended to": {
			dest:   `SET ROLE {dst}; CREATE TABLE orders (id bigint PRIMARY KEY, code text, note varchar(20)); INSERT INTO orders VALUES (7); RESET ROLE`,
			adjust: func(f *fixture) { f.in.ExistingObjects = precheck.ExistingAppend },
		},
		"tables to be replaced": {
			dest:   `SET ROLE {dst}; CREATE TABLE orders (id text); RESET ROLE`,
			adjust: func(f *fixture) { f.in.ExistingObjects = precheck.ExistingReplace },
		},
		"tables of the task only": {
			source: `CREATE TABLE unreadable (a int)`,
			adjust: func(f *fixture) {
				f.in.Selection = schema.Selection{Tables: []schema.Name{{Schema: "public", Name: "orders"}, {Schema: "public", Name: "items"}}}
			},
		},
		"database to be created": {
			dest: `ALTER ROLE {dst} CREATEDB`,
			adjust: func(f *fixture) {
				f.in.Destination, f.in.CreateDatabase = f.in.Destination.WithDatabase("not there "+f.dstDB), true
			},
		},
		"slots and publications of others": {
			source: `SELECT pg_create_logical_replication_slot('pgsyncd_{srcdb}_other', 'pgoutput')`,
		},
		"odd names": {
			source: `SET ROLE {src}; CREATE SCHEMA "S ch""e.ma"; CREATE TABLE "S ch""e.ma"."Táb'le.$" ("c ö" int PRIMARY KEY, "select" text); RESET ROLE`,
		},
	}) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t, src, dst)
			f.put(d)
			f.mustPass()
		})
	}
}

// TestSettingsOfServers needs clusters of its own.
func TestSettingsOfServers(t *testing.T) {
	t.Parallel()
	src := testenv.Start(t, testenv.Config{
		Settings: map[string]string{"wal_level": "replica", "max_replication_slots": "1", "max_wal_senders": "1"},
		InitArgs: []string{"--encoding=SQL_ASCII", "--locale=C"},
	})
	dst := testenv.Start(t, testenv.Config{InitArgs: []string{"--encoding=UTF8", "--locale=C.UTF-8"}})
	f := setup(t, src, dst)
	open := f.open()
	for item, outcome := range map[string]precheck.Outcome{
		"wal_level": precheck.Failed, "replication slots": precheck.Failed, "WAL senders": precheck.Failed,
		"encoding": precheck.ToConfirm, "collation of the database": precheck.ToConfirm,
	} {
		if open[item].Outcome != outcome {
			t.Errorf("%s: %+v, want %s", item, open[item], outcome)
		}
		delete(open, item)
	}
	if len(open) > 0 {
		t.Errorf("also: %v", open)
	}
	f.in.Adopt = true // one slot will do, though a backlog is read by way of another
	for _, r := range precheck.Run(f.ctx(), f.in) {
		if r.Item == "replication slots" && (r.Outcome != precheck.Passed || r.Found != "0 of 1 used; with one more a backlog would be read faster" ||
			!strings.Contains(r.Suggestion, "max_replication_slots = 6")) {
			t.Errorf("one slot: %+v", r)
		}
	}
	f.in.Incremental, f.in.Adopt = false, false
	if open := f.open(); len(open) != 2 {
		t.Errorf("full only: %v", open)
	}
}

func TestUnknownEncodingOnBothSides(t *testing.T) {
	t.Parallel()
	c := testenv.Start(t, testenv.Config{InitArgs: []string{"--encoding=SQL_ASCII", "--locale=C"}})
	f := setup(t, c, c)
	f.mustPass()
}

func TestStandbys(t *testing.T) {
	t.Parallel()
	primary := testenv.Start(t, testenv.Config{})
	standby := primary.StartStandby(t, testenv.Config{Settings: map[string]string{"hot_standby_feedback": "off"}})
	f := setup(t, primary, testenv.Shared(t))
	f.in.Source, f.in.Incremental = f.parse(standby, f.srcDB, f.srcRole), false
	testenvWait(t, standby, f.srcDB, "SELECT count(*) = 1 FROM items")
	if open := f.open(); open["standby as source"].Outcome != precheck.Failed || len(open) != 1 {
		t.Errorf("hot_standby_feedback off: %v", open)
	}
	if err := standby.Set(f.ctx(), map[string]string{"hot_standby_feedback": "on"}, false); err != nil {
		t.Fatal(err)
	}
	testenvWait(t, standby, f.srcDB, "SELECT current_setting('hot_standby_feedback') = 'on'")
	f.mustPass()
	f.in.Incremental = true
	if open := f.open(); open["standby as source"].Outcome != precheck.Failed {
		t.Errorf("incremental: %v", open)
	}
	f.in.Source, f.in.Destination = f.in.Destination, f.in.Source
	if open := f.open(); open["destination is a primary"].Outcome != precheck.Failed {
		t.Errorf("as destination: %v", open)
	}
}

// testenvWait waits until a query is true in a new session.
func testenvWait(t *testing.T, c *testenv.Cluster, db, sql string) {
	t.Helper()
	for range 3000 {
		conn, err := pgx.Connect(t.Context(), c.ConnString(db))
		if err == nil {
			var ok bool
			err = conn.QueryRow(t.Context(), sql).Scan(&ok)
			_ = conn.Close(t.Context()) // the answer is known
			if err == nil && ok {
				return
			}
		}
	}
	t.Fatalf("never true: %s", sql)
}

func TestSequencesOfAnOpenSchema(t *testing.T) {
	t.Parallel()
	f := setup(t, testenv.Shared(t), testenv.Shared(t))
	f.source("CREATE SCHEMA half; CREATE SEQUENCE half.q; GRANT USAGE ON SCHEMA half TO " + f.srcRole)
	want := fmt.Sprintf(`GRANT SELECT ON SEQUENCE "half"."q" TO %q;`, f.srcRole)
	if got := f.open()["read sequences"].Suggestion; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// TestForecastUnderAFlowLimit: what the limit allows decides, minute by minute; one that is higher than what can be expected does not.
func TestForecastUnderAFlowLimit(t *testing.T) {
	t.Parallel()
	f := setup(t, testenv.Shared(t), testenv.Shared(t))
	f.in.Incremental = false
	f.source("SET ROLE " + f.srcRole + `; CREATE TABLE wide (id int PRIMARY KEY, v text);
		ALTER TABLE wide ALTER v SET STORAGE EXTERNAL; INSERT INTO wide SELECT i, repeat('x', 1000000) FROM generate_series(1, 20) i; RESET ROLE`)
	f.in.Selection = schema.Selection{Tables: []schema.Name{{Schema: "public", Name: "wide"}}}
	forecast := func(limit func(time.Time) int) string {
		f.in.FlowLimit = limit
		for _, r := range precheck.Run(f.ctx(), f.in) {
			if r.Item == "forecast" {
				return r.Found
			}
		}
		return ""
	}
	begin := time.Now()
	for want, limit := range map[string]func(time.Time) int{
		`in about 0s at 50\.0 MB`:             nil,
		`in about 0s at 50\.0 MB +per second`: func(time.Time) int { return 500 << 20 },
		`in about (19|2\d)s under the flow`:   func(time.Time) int { return 1 << 20 },
		`in about [1-3](m\d+)?[ms]\w* under`: func(at time.Time) int {
			if at.Before(begin.Add(2 * time.Minute)) {
				return 1 << 10
			}
			return 0
		},
	} {
		if got := forecast(limit); !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("%s does not match %s", got, want)
		}
	}
}

func TestUnreachableSides(t *testing.T) {
	t.Parallel()
	f := setup(t, testenv.Shared(t), testenv.Shared(t))
	good := f.in.Source
	f.in.Source = f.parse(f.src, "nowhere_"+f.srcDB, f.srcRole)
	open := f.open()
	// One row says it for all that need the connection.
	if r := open["source connection"]; len(open) != 1 || r.Outcome != precheck.Failed || !strings.Contains(r.Found, "does not exist") {
		t.Errorf("%v", open)
	}
	f.in.Source, f.in.Destination = good, f.parse(f.dst, "nowhere_"+f.dstDB, f.dstRole)
	open = f.open()
	if r := open["destination connection"]; len(open) != 1 || !strings.Contains(r.Found, "no such database") {
		t.Errorf("%v", open)
	}
	f.source("REVOKE SELECT ON orders FROM " + f.srcRole)
	if r := f.open()["read tables"]; r.Outcome != precheck.Failed {
		t.Errorf("the source was not checked: %+v", r)
	}
}

func TestOldTransactions(t *testing.T) {
	t.Parallel()
	c := testenv.Start(t, testenv.Config{})
	f := setup(t, c, testenv.Shared(t))
	ctx := f.ctx()
	for _, sql := range []string{"BEGIN", "INSERT INTO orders (code) VALUES ('x')"} {
		f.exec(f.admin, sql)
	}
	other := c.Connect(t, f.srcDB)
	for _, sql := range []string{"BEGIN", "INSERT INTO orders (code) VALUES ('y')", "PREPARE TRANSACTION 'it''s'"} {
		f.exec(other, sql)
	}
	f.mustPass() // they are young
	f.in.LongTransaction = time.Nanosecond
	if r, ok := f.open()["long transactions"]; ok {
		t.Errorf("a session of another role was judged: %+v", r)
	}
	f.exec(other, "GRANT pg_monitor TO "+f.srcRole)
	open := f.open()
	for item, want := range map[string]string{
		"long transactions":     fmt.Sprintf("SELECT pg_terminate_backend(%d);", f.admin.PgConn().PID()),
		"prepared transactions": "ROLLBACK PREPARED 'it''s';",
	} {
		if r := open[item]; r.Outcome != precheck.ToConfirm || !strings.Contains(r.Suggestion, want) {
			t.Errorf("%s: %+v", item, r)
		}
	}
	for _, sql := range []string{"ROLLBACK", "ROLLBACK PREPARED 'it''s'"} {
		if _, err := f.admin.Exec(context.WithoutCancel(ctx), sql); err != nil {
			t.Fatal(err)
		}
	}
	f.mustPass()
}
