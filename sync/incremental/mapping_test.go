package incremental_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/incremental"
	"pgsyncd/sync/ledger"
	"pgsyncd/sync/schema"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// begin makes publication, slot and ledger anew, as the full copy of the selection's tables, which hold no rows, leaves them.
func (l *lab) begin(sel schema.Selection) {
	l.Helper()
	if err := l.publish(sel); err != nil {
		l.Fatal(err)
	}
}

func (l *lab) publish(sel schema.Selection) error {
	l.Helper()
	l.cfg.Selection = sel
	l.source(`SELECT pg_drop_replication_slot('` + l.cfg.Slot + `'); DROP PUBLICATION IF EXISTS pub`)
	conn, err := l.cfg.Source.Connect(l.Context(), "test")
	if err != nil {
		l.Fatal(err)
	}
	defer func() { _ = conn.Close(l.Context()) }()
	inv, err := schema.Read(l.Context(), conn, sel)
	if err != nil {
		l.Fatal(err)
	}
	err = pgx.BeginFunc(l.Context(), conn, func(tx pgx.Tx) error {
		return schema.CreatePublication(l.Context(), tx, "pub", inv, func(schema.Name) bool { return false })
	})
	l.createSlot()
	if err != nil {
		return err
	}
	for _, t := range inv.Tables {
		if err := ledger.MarkCopied(l.Context(), l.d, l.cfg.Task, t.Name.String(), l.end()); err != nil {
			l.Fatal(err)
		}
		names := []string{t.Name.String()}
		for p := &t; p != nil && p.Partition && len(p.Parents) == 1; p = inv.Table(p.Parents[0]) {
			names = append(names, p.Parents[0].String())
		}
		if err := ledger.MarkObject(l.Context(), l.d, l.cfg.Task, ledger.SourceKeys(t.OID, names...)...); err != nil {
			l.Fatal(err)
		}
	}
	return nil
}

// views makes views of the same name on both sides, by which tables of different names are compared.
func (l *lab) views(views ...[3]string) {
	l.Helper()
	for _, v := range views {
		l.source("CREATE VIEW " + v[0] + " AS " + v[1])
		l.destination("CREATE VIEW " + v[0] + " AS " + v[2])
	}
}

func name(s, n string) schema.Name { return schema.Name{Schema: s, Name: n} }

func columns(pairs ...string) (list []schema.ColumnRule) {
	for pair := range slices.Chunk(pairs, 2) {
		list = append(list, schema.ColumnRule{Name: pair[0], As: pair[1]})
	}
	return list
}

const (
	mappedSource = `CREATE TABLE gate (); CREATE SCHEMA "App One";
		CREATE TABLE "App One"."T.1" ("Id" int PRIMARY KEY, "select" text, secret text DEFAULT 's', "Größe" text, n numeric);
		ALTER TABLE "App One"."T.1" ALTER "Größe" SET STORAGE EXTERNAL;
		CREATE TABLE "App One".whole_old (secret text DEFAULT 's', id int PRIMARY KEY, v text, big text);
		ALTER TABLE "App One".whole_old ALTER big SET STORAGE EXTERNAL, REPLICA IDENTITY FULL;
		CREATE TABLE "App One".keyless (id int, secret text DEFAULT random()::text, v text); ALTER TABLE "App One".keyless REPLICA IDENTITY FULL;
		CREATE TABLE "App One".by_index (a int, b text NOT NULL UNIQUE, v text); ALTER TABLE "App One".by_index REPLICA IDENTITY USING INDEX by_index_b_key;
		CREATE TABLE "App One".always (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text, g text GENERATED ALWAYS AS (v || 'x') STORED)`
	mappedDestination = `CREATE TABLE gate (); CREATE SCHEMA "Ziel ""x"".y"; CREATE SCHEMA other;
		CREATE TABLE other."select" (n numeric, "from" text, "a.b" int PRIMARY KEY, groesse text);
		CREATE TABLE "Ziel ""x"".y".whole_old (v text, "Id" int PRIMARY KEY, big text);
		CREATE TABLE "Ziel ""x"".y".keyless ("ID" int, "V" text);
		CREATE TABLE "Ziel ""x"".y".by_index (b int, a text NOT NULL UNIQUE, v text);
		CREATE TABLE "Ziel ""x"".y".always (number int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, w text, g text GENERATED ALWAYS AS (w || 'x') STORED)`
)

// mapped is a selection that gives almost everything another name, and leaves columns out.
var mapped = schema.Selection{
	All: true,
	Map: schema.Mapping{
		Schemas:   []schema.SchemaMap{{From: "App One", To: `Ziel "x".y`}},
		Relations: []schema.RelationMap{{From: name("App One", "T.1"), To: name("other", "select")}},
	},
	Rules: []schema.TableRule{
		{Table: name("App One", "T.1"), Columns: columns("Id", "a.b", "select", "from", "Größe", "groesse", "n", "")},
		{Table: name("App One", "whole_old"), Columns: columns("id", "Id", "v", "", "big", "big")},
		{Table: name("App One", "keyless"), Columns: columns("id", "ID", "v", "V")},
		{Table: name("App One", "by_index"), Columns: columns("a", "b", "b", "a", "v", "v")},
		{Table: name("App One", "always"), Columns: columns("id", "number", "v", "w", "g", "g")},
	},
}

func setupMapped(t *testing.T) *lab {
	t.Helper()
	l := setup(t, "")
	l.source(mappedSource)
	l.destination(mappedDestination)
	l.begin(mapped)
	l.views(
		[3]string{"v_t", `SELECT "Id" a, "select" b, "Größe" c, n FROM "App One"."T.1"`, `SELECT "a.b" a, "from" b, groesse c, n FROM other."select"`},
		[3]string{"v_w", `SELECT id, v, big FROM "App One".whole_old`, `SELECT "Id" id, v, big FROM "Ziel ""x"".y".whole_old`},
		[3]string{"v_k", `SELECT id, v FROM "App One".keyless`, `SELECT "ID" id, "V" v FROM "Ziel ""x"".y".keyless`},
		[3]string{"v_i", `SELECT a, b, v FROM "App One".by_index`, `SELECT b a, a b, v FROM "Ziel ""x"".y".by_index`},
		[3]string{"v_a", `SELECT id, v, g FROM "App One".always`, `SELECT number id, w v, g FROM "Ziel ""x"".y".always`},
	)
	return l
}

func (l *lab) mappedEqual() {
	l.Helper()
	l.equal("public.v_t", "public.v_w", "public.v_k", "public.v_i", "public.v_a")
}

// Every way a change can take, under other names: sets, single rows, COPY, the exact path; with a key that changes, values that
// are not sent, rows without a key, columns that are not selected.
func TestOtherNames(t *testing.T) {
	t.Parallel()
	l := setupMapped(t)
	r := l.start()
	const one, two, three, four, five = `"App One"."T.1"`, `"App One".whole_old`, `"App One".keyless`, `"App One".by_index`, `"App One".always`
	work := func() {
		l.source(`INSERT INTO ` + one + ` SELECT i, 'v' || i, 'secret', repeat(md5(i::text), 100), i FROM generate_series(1, 50) i`)
		l.source(`INSERT INTO ` + two + ` (id, v, big) SELECT i, 'v' || i, repeat(md5(i::text), 100) FROM generate_series(1, 50) i`)
		l.source(`INSERT INTO ` + three + ` (id, v) SELECT i % 5, 'v' || i % 3 FROM generate_series(1, 60) i`)
		l.source(`INSERT INTO ` + four + ` SELECT i, 'b' || i, 'v' FROM generate_series(1, 20) i; INSERT INTO ` + five + ` (v) SELECT 'v' || i FROM generate_series(1, 20) i`)
		l.source(`UPDATE ` + one + ` SET "select" = 'new' WHERE "Id" % 3 = 0; UPDATE ` + one + ` SET secret = 'other' WHERE "Id" % 4 = 0;
			UPDATE ` + two + ` SET v = 'new' WHERE id % 3 = 0; UPDATE ` + two + ` SET secret = 'other' WHERE id % 4 = 0`)
		l.source(`BEGIN; UPDATE ` + one + ` SET "Id" = -1 WHERE "Id" = 1; UPDATE ` + one + ` SET "Id" = 1 WHERE "Id" = 2; UPDATE ` + one + ` SET "Id" = 2 WHERE "Id" = -1; COMMIT;
			UPDATE ` + one + ` SET "Id" = "Id" + 100 WHERE "Id" > 40; UPDATE ` + two + ` SET id = id + 100 WHERE id > 40`)
		l.source(`UPDATE ` + three + ` SET v = NULL WHERE ctid IN (SELECT ctid FROM ` + three + ` WHERE id = 1 LIMIT 3); UPDATE ` + three + ` SET secret = 'x' WHERE id = 2;
			DELETE FROM ` + three + ` WHERE ctid IN (SELECT ctid FROM ` + three + ` WHERE id = 3 LIMIT 3)`)
		l.source(`UPDATE ` + four + ` SET b = 'x' || a WHERE a % 4 = 0; DELETE FROM ` + four + ` WHERE a % 5 = 0; UPDATE ` + four + ` SET a = a + 1`)
		l.source(`UPDATE ` + five + ` SET v = 'new' WHERE id % 2 = 0; UPDATE ` + five + ` SET id = DEFAULT WHERE id % 7 = 0; DELETE FROM ` + five + ` WHERE id % 5 = 0`)
		l.source(`DELETE FROM ` + one + ` WHERE "Id" % 10 = 0; DELETE FROM ` + two + ` WHERE id % 10 = 0`)
	}
	empty := func() { l.source(`TRUNCATE ` + strings.Join([]string{one, two, three, four, five}, ", ")) }
	work()
	r.catchUp()
	l.mappedEqual()
	empty()
	r.catchUp()
	l.mappedEqual()
	l.inOneBatch(`other."select"`, r, work)
	l.mappedEqual()
	if n := l.report.progress().Conflicts; n != 0 {
		t.Errorf("%d conflicts: %+v", n, l.report.recorded())
	}
	// Only a stream that has gone on since knows both shapes of a row; a new one continues from the position.
	_ = r.kill()
	l.source(`INSERT INTO ` + one + ` SELECT i, 'bulk', 's', E'tab\tback\\slash', i FROM generate_series(1000, 4000) i`)
	l.source(`INSERT INTO ` + three + ` SELECT i, 's', 'bulk' FROM generate_series(1000, 4000) i; DELETE FROM ` + three + ` WHERE id % 2 = 0`)
	r = l.start()
	r.catchUp()
	l.mappedEqual()
	empty()
	r.catchUp()
	l.mappedEqual()
}

// Conflicts speak of the source, but for the row that the destination has.
func TestConflictsUnderOtherNames(t *testing.T) {
	t.Parallel()
	l := setupMapped(t)
	l.cfg.Policy = incremental.PolicyOverwrite
	l.destination(`INSERT INTO other."select" VALUES (1, 'theirs', 1, 'g'); INSERT INTO "Ziel ""x"".y".by_index VALUES (1, 'taken', 'theirs')`)
	r := l.start()
	l.source(`INSERT INTO "App One"."T.1" VALUES (1, 'ours', 'secret', 'g', 2), (2, 'b', 'secret', 'g', 2)`)
	r.catchUp()
	l.destination(`DELETE FROM other."select" WHERE "a.b" = 2`)
	// The conflict has everything that comes with it go the exact path.
	l.source(`BEGIN; INSERT INTO "App One".keyless (id, v) SELECT i % 2, 'k' FROM generate_series(1, 9) i; UPDATE "App One".keyless SET v = NULL WHERE id = 1; DELETE FROM "App One".keyless WHERE id = 0;
		INSERT INTO "App One".always (v) SELECT 'a' FROM generate_series(1, 9); UPDATE "App One".always SET id = DEFAULT WHERE id = 3; UPDATE "App One".always SET v = 'b' WHERE id = 4;
		INSERT INTO "App One".whole_old (id, v, big) VALUES (1, 'v', repeat('x', 5000)), (2, 'v', NULL); UPDATE "App One".whole_old SET id = id + 10; DELETE FROM "App One".whole_old WHERE id = 12;
		UPDATE "App One"."T.1" SET n = 3 WHERE "Id" = 2; UPDATE "App One"."T.1" SET "Id" = 7 WHERE "Id" = 1; COMMIT`)
	r.catchUp()
	l.equal("public.v_t", "public.v_w", "public.v_k", "public.v_a")
	if l.report.progress().Replays == 0 {
		t.Error("nothing was replayed")
	}
	for i, c := range l.report.recorded() {
		want := []struct{ kind, key, destination string }{
			{incremental.InsertExists, `{"Id": "1"}`, `{"n":1,"from":"theirs","a.b":1,"groesse":"g"}`},
			{incremental.UpdateMissing, `{"Id": "2"}`, ``},
		}[i]
		if c.Kind != want.kind || string(c.Key) != want.key || string(c.DestinationRow) != want.destination || c.Table != name("App One", "T.1") ||
			!strings.Contains(string(c.SourceRow), `"select": `) {
			t.Errorf("conflict %d: %+v, key %s, source %s, destination %s", i, c, c.Key, c.SourceRow, c.DestinationRow)
		}
	}
	if n := len(l.report.recorded()); n != 2 {
		t.Errorf("%d conflicts", n)
	}
	l.cfg.Policy = incremental.PolicyError
	_ = r.kill()
	l.source(`INSERT INTO "App One".by_index VALUES (1, 'taken', 'ours')`)
	if err := l.start().wait(); err == nil || endpoint.Retryable(err) || !strings.Contains(err.Error(), `"App One"."by_index"`) {
		t.Errorf("ended with %v", err)
	}
}

// Claims name tables of the destination, objects that were created those of the source.
func TestTruncateSparesTheRowsOfOthersUnderOtherNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name         string
		append, mine bool
		key          string
		refused      bool
	}{
		{name: "another task's rows", key: ledger.ClaimPrefix + `"other"."select"`, refused: true},
		{name: "another task's rows under the source's name", key: ledger.ClaimPrefix + `"App One"."T.1"`},
		{name: "that was there before", append: true, key: `TABLE "App One"."T.1"`, refused: true},
		{name: "that the task created to append", append: true, mine: true, key: `TABLE "App One"."T.1"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := setupMapped(t)
			l.cfg.Append = c.append
			task := uuid.NewString()
			if c.mine {
				task = l.cfg.Task
			}
			if err := ledger.MarkObject(t.Context(), l.d, task, c.key); err != nil {
				t.Fatal(err)
			}
			r := l.start()
			l.source(`INSERT INTO "App One"."T.1" ("Id") VALUES (1); TRUNCATE "App One"."T.1"`)
			if !c.refused {
				r.catchUp()
				l.equal("public.v_t")
				return
			}
			if err := r.wait(); err == nil || endpoint.Retryable(err) || !strings.Contains(err.Error(), "rows of others") {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

// Crashes of the stream at any point, under other names.
func TestKillsUnderOtherNames(t *testing.T) {
	t.Parallel()
	l := setupMapped(t)
	for i := range 6 {
		r := l.start()
		l.source(fmt.Sprintf(`INSERT INTO "App One"."T.1" SELECT i, 'v', 's', 'x', i FROM generate_series(%[1]d, %[1]d + 99) i;
			UPDATE "App One"."T.1" SET "Id" = -"Id" WHERE "Id" %% 7 = 0; INSERT INTO "App One".keyless (id, v) SELECT i %% 3, 'v' FROM generate_series(1, 50) i;
			DELETE FROM "App One".keyless WHERE ctid IN (SELECT ctid FROM "App One".keyless LIMIT 20)`, i*100+1))
		l.eventually("something arrives", func() bool { return r.Changes(name("App One", "T.1")) > 0 })
		_ = r.kill()
	}
	l.resume()
	l.mappedEqual()
}

// Partitions go to the partition that has their name in the destination, or else to the table that their root is there.
func TestPartitionsUnderOtherNames(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE gate (); CREATE SCHEMA parts`)
	l.source(`CREATE TABLE p (id int PRIMARY KEY, v text, secret text) PARTITION BY RANGE (id);
		CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100); CREATE TABLE parts.p2 (secret text, v text, id int PRIMARY KEY);
		ALTER TABLE p ATTACH PARTITION parts.p2 FOR VALUES FROM (100) TO (200); CREATE TABLE q (id int PRIMARY KEY, v text) PARTITION BY LIST (id);
		CREATE TABLE q1 PARTITION OF q DEFAULT`)
	// There is a stranger of the name of a partition, which nothing may go to.
	l.destination(`CREATE TABLE root (number int PRIMARY KEY, v text) PARTITION BY RANGE (number); CREATE TABLE parts.second PARTITION OF root FOR VALUES FROM (100) TO (200);
		CREATE TABLE rest PARTITION OF root DEFAULT; CREATE TABLE p1 (number int PRIMARY KEY, v text); CREATE TABLE flat (v text, id int PRIMARY KEY)`)
	l.begin(schema.Selection{
		All: true,
		Map: schema.Mapping{Relations: []schema.RelationMap{
			{From: name("public", "p"), To: name("public", "root")}, {From: name("parts", "p2"), To: name("parts", "second")}, {From: name("public", "q"), To: name("public", "flat")},
		}},
		Rules: []schema.TableRule{{Table: name("public", "p"), Columns: columns("id", "number", "v", "")}},
	})
	l.views([3]string{"v", `SELECT id, v FROM p`, `SELECT number id, v FROM root`}, [3]string{"w", `SELECT * FROM q`, `SELECT id, v FROM flat`})
	r := l.start()
	work := func() {
		l.source(`INSERT INTO p SELECT i, 'v' || i, 's' FROM generate_series(0, 199) i; UPDATE p SET v = 'new' WHERE id % 3 = 0; DELETE FROM p WHERE id % 10 = 0;
			UPDATE p SET id = 110 WHERE id = 11; UPDATE p SET id = 20 WHERE id = 122; INSERT INTO q SELECT i, 'q' FROM generate_series(1, 20) i; DELETE FROM q WHERE id = 3`)
		l.source(`CREATE TABLE IF NOT EXISTS p3 PARTITION OF p FOR VALUES FROM (200) TO (300); INSERT INTO p VALUES (250, 'later')`)
	}
	work()
	r.catchUp()
	l.equal("public.v", "public.w")
	l.source(`TRUNCATE p1, q; INSERT INTO p VALUES (7, 'after')`)
	r.catchUp()
	l.equal("public.v", "public.w")
	l.source(`TRUNCATE p`)
	l.inOneBatch("root", r, work)
	l.equal("public.v", "public.w")
	if n := l.one(l.d, `SELECT count(*) FROM p1`); n != "0" {
		t.Errorf("%s rows went to a stranger", n)
	}
	l.source(`CREATE TABLE p4 PARTITION OF p FOR VALUES FROM (300) TO (400); INSERT INTO p VALUES (350)`)
	r.catchUp()
	l.equal("public.v", "public.w")
}

// Tables and columns that are gone when their changes come are still known under the right names.
func TestNamesOfWhatIsGone(t *testing.T) {
	t.Parallel()
	l := setupMapped(t)
	r := l.start()
	l.source(`INSERT INTO "App One"."T.1" VALUES (1, 'a', 's', 'g', 1)`)
	r.catchUp()
	_ = r.kill()
	l.source(`INSERT INTO "App One"."T.1" VALUES (2, 'b', 's', 'g', 2); INSERT INTO "App One".whole_old (id, v) VALUES (1, 'v'); INSERT INTO "App One".keyless VALUES (1, 's', 'k')`)
	l.source(`DROP VIEW v_w, v_k; DROP TABLE "App One".whole_old; ALTER TABLE "App One"."T.1" DROP secret, ADD later int; ALTER TABLE "App One".keyless DROP v`)
	l.source(`INSERT INTO "App One"."T.1" VALUES (3, 'c', 'g', 1)`)
	r = l.start()
	r.catchUp()
	if got := l.one(l.d, `SELECT (SELECT string_agg("a.b" || coalesce(n::text, ''), ' ' ORDER BY "a.b") FROM other."select") || (SELECT v FROM "Ziel ""x"".y".whole_old) || (SELECT "V" FROM "Ziel ""x"".y".keyless)`); got != "11 22 31vk" {
		t.Errorf("rows: %s", got)
	}
}

// Without the columns that identify a row there, changes of rows cannot be applied, and the full copy refuses to publish them.
func TestIdentityThatIsNotSelected(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE t (id int PRIMARY KEY, v text)`)
	sel := schema.Selection{All: true, Rules: []schema.TableRule{{Table: name("public", "t"), Columns: columns("v", "")}}}
	if err := l.publish(sel); err == nil || endpoint.Retryable(err) || !strings.Contains(err.Error(), `"id" of its replica identity`) {
		t.Errorf("published: %v", err)
	}
	l.source(`CREATE PUBLICATION pub FOR ALL TABLES`)
	l.destination(`ALTER TABLE t DROP id`)
	r := l.start()
	l.source(`INSERT INTO t VALUES (1, 'a')`)
	r.catchUp()
	l.source(`DELETE FROM t`)
	if err := r.wait(); err == nil || endpoint.Retryable(err) || !strings.Contains(err.Error(), "does not take every column of the replica identity") {
		t.Errorf("ended with %v", err)
	}
}
