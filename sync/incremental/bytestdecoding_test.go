package incremental_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/ledger"
	"pgsyncd/sync/schema"
	"pgsyncd/testenv"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
)

// The traps are the same with either plugin, as far as they do not lie in publications.
func TestByTestDecoding(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(*testing.T){
		"bulk loads":                  TestBulkLoads,
		"elements of arrays":          TestElementsOfArrays,
		"faults under load":           TestFaultsUnderLoad,
		"no known encoding":           TestTextOfNoKnownEncoding,
		"types that do not hold":      TestTypeThatDoesNotHoldTheValuesStopsTheStream,
		"wider types":                 TestWiderTypesOfTheDestination,
		"overlapping batches":         TestOverlappingBatches,
		"random batches":              TestRandomBatchesFold,
		"partitions of another kind":  TestPartitionsOfAnotherLayout,
		"partition attached anew":     TestTruncateOfPartitionThatWasAttachedAnew,
		"commits before a copy":       TestCommitsBeforeACopyAreSkippedForItsTable,
		"rows of others":              TestTruncateSparesTheRowsOfOthers,
		"inserts updates deletes":     TestInsertsUpdatesDeletes,
		"stop":                        TestStopAtDrainsAndConfirms,
		"held":                        TestHeldStream,
		"large transaction":           TestLargeTransactionIsAppliedInPieces,
		"interleaved":                 TestInterleavedTransactionsSurviveCutsAfterEveryMessage,
		"rows of one record":          TestRowsOfOneRecordSurviveCutsBetweenThem,
		"keepalives":                  TestKeepalivesDoNotConfirmWhatIsNotApplied,
		"destination lost":            TestNothingConfirmedIsLostWithTheDestination,
		"fence":                       TestFormerOwnerIsFenced,
		"unknown outcome":             TestCommitOfUnknownOutcomeIsNotRepeated,
		"slot lost":                   TestLostSlotIsNoticed,
		"key updates":                 TestKeyUpdatesSwapAndChain,
		"unchanged TOAST":             TestUnchangedToastValuesSurvive,
		"truncate":                    TestTruncate,
		"truncate of referenced":      TestTruncateOfReferencedTable,
		"triggers":                    TestTriggersAndForeignKeysDoNotFireAgain,
		"duplicates":                  TestDuplicateRowsWithoutKey,
		"generated and reordered":     TestIdentityGeneratedAndReorderedColumns,
		"not split":                   TestTransactionsAreNotSplit,
		"conflict":                    TestConflictStopsTheStream,
		"conflict policies":           TestConflictIsIgnoredOrOverwritten,
		"other names":                 TestOtherNames,
		"conflicts under other names": TestConflictsUnderOtherNames,
		"kills under other names":     TestKillsUnderOtherNames,
		"several tables":              TestSeveralTablesIntoOne,
		"source behind":               TestSourceThatIsBehindIsNoticed,
		"positions":                   testCommitPositions,
		"every type":                  testEveryType,
		"strangers":                   testStrangers,
		"copies ahead":                testCopiesAhead,
		"structure":                   testStructureChanges,
		"other encoding":              testOtherEncoding,
		"no identity":                 testNoIdentity,
		"new partitions":              TestPartitionsThatAreNewJoinTheStream,
		"refused rows":                TestRefusedRowStopsTheStream,
		"owner that wakes up":         TestOwnerThatWakesUpWritesNothing,
		"invalidated slot":            TestInvalidatedSlotIsNoticed,
	} {
		t.Run(name, test)
	}
}

// testCommitPositions compares what COMMIT comes with to what pgoutput says about the end of the commit record.
func testCommitPositions(t *testing.T) {
	t.Helper()
	t.Parallel()
	l := setup(t, `CREATE TABLE t (id int PRIMARY KEY, v text)`)
	l.source(`SELECT pg_create_logical_replication_slot('` + l.cfg.Slot + `_o', 'pgoutput')`)
	defer l.source(`SELECT pg_drop_replication_slot('` + l.cfg.Slot + `_o')`)
	other := l.src.Connect(t, l.srcDB)
	l.exec(other, `BEGIN; INSERT INTO t VALUES (1, 'a')`)
	l.source(`INSERT INTO t SELECT i, repeat('x', 5000) FROM generate_series(2, 50) i`)
	l.source(`BEGIN; SAVEPOINT s; INSERT INTO t VALUES (51, 'b'); COMMIT`)
	l.exec(other, `COMMIT`)
	l.source(`TRUNCATE t; INSERT INTO t VALUES (1, 'c')`)
	rows, err := l.s.Query(t.Context(), `SELECT data FROM pg_logical_slot_peek_binary_changes($1, NULL, NULL, 'proto_version', '1', 'publication_names', 'pub')`, l.cfg.Slot+"_o")
	if err != nil {
		t.Fatal(err)
	}
	var data []byte
	want := ""
	if _, err = pgx.ForEachRow(rows, []any{&data}, func() error {
		if data[0] == 'C' {
			want += " " + pglogrepl.LSN(binary.BigEndian.Uint64(data[10:])).String()
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	got := l.one(l.s, `SELECT string_agg(lsn::text, ' ' ORDER BY lsn) FROM pg_logical_slot_peek_changes('`+l.cfg.Slot+`', NULL, NULL) WHERE data LIKE 'COMMIT%'`)
	if " "+got != want || got == "" {
		t.Errorf("COMMIT comes with %s, the commit records end at%s", got, want)
	}
}

// testEveryType sends values of every kind of type, and names that have to be quoted.
func testEveryType(t *testing.T) {
	t.Helper()
	t.Parallel()
	l := setup(t, `CREATE SCHEMA "s.x"; CREATE TYPE "s.x"."t]:y" AS ENUM ('a', 'b''c'); CREATE TYPE "s.x"."row" AS (a int, "b c" text[]);
		CREATE DOMAIN whole AS int; CREATE DOMAIN yes AS boolean;
		CREATE TABLE "s.x"."T, able:""" ("I d" int PRIMARY KEY, "new-tuple" "s.x"."t]:y"[], e "s.x"."t]:y", r "s.x"."row", w whole, y yes, b boolean,
			s smallint, l bigint, f4 real, f8 double precision, n numeric, n2 numeric(10, 3), m money, c char(5), v varchar(9), t text, q "char", na name,
			by bytea, d date, tm time, tz timetz, ts timestamp, tstz timestamptz(3), iv interval, p point, bx box, pg polygon, ip inet, ci cidr, ma macaddr,
			bt bit(3), vb varbit, u uuid, x xml, j json, jb jsonb, ra int4range, tsv tsvector, tq tsquery, o oid, rc regclass, a int[], ta text[][])`)
	r := l.start()
	l.source(`INSERT INTO "s.x"."T, able:""" VALUES
		(1, ARRAY['a', 'b''c']::"s.x"."t]:y"[], 'b''c', ROW(1, ARRAY['x''y', NULL, '"']), 5, true, false, -1, 9223372036854775807, 'NaN', '-Infinity', 'NaN', 1.500, 12.34,
			'ab', 'null', 'it''s \ "q" [x]: new-tuple: é€😀', 'z', 'unchanged-toast-datum', '\x00ff27', 'infinity', '24:00:00', '23:59:59.999999+05:30',
			'4713-01-01 BC', '294276-12-31 23:59:59.999+00', '-1 mons +2 days -03:00', '(1,2)', '((1,2),(3,4))', '((0,0),(1,1))', '::1', '10.0.0.0/8',
			'08:00:2b:01:02:03', B'101', B'', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '<a>''</a>', '{"a": "''\n"}', '{"b": [1, null]}', 'empty',
			'it:1', 'x & y', 4294967295, 'pg_catalog.pg_class', '{1,NULL,3}', '{{a,"null"},{"''",""}}')`)
	l.source(`INSERT INTO "s.x"."T, able:""" VALUES (2)`)
	l.source(`UPDATE "s.x"."T, able:""" SET "I d" = "I d" + 10; UPDATE "s.x"."T, able:""" SET t = '', n = 1e1000; DELETE FROM "s.x"."T, able:""" WHERE "I d" = 12`)
	r.catchUp()
	l.source(`ALTER TABLE "s.x"."T, able:""" REPLICA IDENTITY FULL; UPDATE "s.x"."T, able:""" SET v = 'x'; UPDATE "s.x"."T, able:""" SET v = NULL;
		INSERT INTO "s.x"."T, able:""" VALUES (3); DELETE FROM "s.x"."T, able:""" WHERE "I d" = 3`)
	r.catchUp()
	l.equal()
	if n := l.one(l.d, `SELECT count(*) FROM "s.x"."T, able:"""`); n != "1" {
		t.Errorf("%s rows", n)
	}
}

// testStrangers: all tables of the database come, whether somebody wants them or not.
func testStrangers(t *testing.T) {
	t.Helper()
	t.Parallel()
	l := setup(t, `CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id);
		CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100)`)
	l.source(`CREATE TABLE stranger (id int); ALTER TABLE stranger REPLICA IDENTITY FULL; CREATE TABLE later (id int PRIMARY KEY)`)
	l.copied("a", "p", "p1")
	r := l.start()
	l.source(`INSERT INTO a VALUES (1, 'x'); INSERT INTO stranger VALUES (1), (1); UPDATE stranger SET id = 2; DELETE FROM stranger;
		INSERT INTO later VALUES (150)`)
	l.source(`DELETE FROM later; CREATE TABLE gone (id int); INSERT INTO gone VALUES (1); DROP TABLE gone; CREATE UNLOGGED TABLE u (id int);
		INSERT INTO u VALUES (1); CREATE MATERIALIZED VIEW m AS SELECT * FROM a; CREATE UNIQUE INDEX ON m (id); REFRESH MATERIALIZED VIEW m`)
	l.source(`REFRESH MATERIALIZED VIEW CONCURRENTLY m`)
	r.catchUp()
	l.source(`ALTER TABLE p ATTACH PARTITION later FOR VALUES FROM (100) TO (200)`)
	l.destination(`CREATE TABLE rest PARTITION OF p DEFAULT`)
	l.source(`INSERT INTO p VALUES (99), (101)`)
	l.source(`TRUNCATE p; INSERT INTO p VALUES (98), (102)`)
	l.source(`VACUUM FULL a`)
	r.catchUp()
	l.equal("public.a", "public.p")
	_ = r.kill()
	l.source(`CREATE TABLE gone2 (id int); INSERT INTO gone2 VALUES (1); UPDATE a SET v = 'y'`)
	l.source(`DROP TABLE gone2, stranger`)
	l.start().catchUp()
	l.equal("public.a", "public.p")
}

// testCopiesAhead: tables that were copied at several positions ahead of the stream get exactly the commits behind each.
func testCopiesAhead(t *testing.T) {
	t.Helper()
	t.Parallel()
	l := setup(t, `CREATE TABLE a (v int); CREATE TABLE b (v int); CREATE TABLE c (v int)`)
	for round, copied := range []string{"a", "b", "c"} {
		// Its changes lie before the copy, its commit after it.
		late := l.src.Connect(t, l.srcDB)
		l.exec(late, fmt.Sprintf(`BEGIN; INSERT INTO a VALUES (%[1]d); INSERT INTO b VALUES (%[1]d); INSERT INTO c VALUES (%[1]d)`, 100+round))
		for i := range 5 {
			l.source(fmt.Sprintf(`BEGIN; INSERT INTO a VALUES (%[1]d); INSERT INTO b VALUES (%[1]d); INSERT INTO c VALUES (%[1]d); COMMIT`, 10*round+i))
		}
		rows := l.one(l.s, `SELECT string_agg(v::text, ',') FROM `+copied)
		l.copied(copied)
		l.destination(`INSERT INTO ` + copied + ` SELECT unnest('{` + rows + `}'::int[])`)
		l.exec(late, `COMMIT`)
	}
	r := l.start()
	r.catchUp()
	l.equal()
	_ = r.kill()
	l.source(`INSERT INTO a VALUES (1000)`)
	l.start().catchUp()
	l.equal()
}

// testStructureChanges changes both sides, while changes are under way and while no stream runs.
func testStructureChanges(t *testing.T) {
	t.Helper()
	t.Parallel()
	l := setup(t, `CREATE TABLE t (id int PRIMARY KEY, v varchar(20), n int); CREATE TABLE f (id int, v text); ALTER TABLE f REPLICA IDENTITY FULL`)
	l.copied("t", "f")
	r := l.start()
	l.source(`INSERT INTO t SELECT i, 'a', i FROM generate_series(1, 20) i; INSERT INTO f SELECT i % 3, 'a' FROM generate_series(1, 20) i`)
	r.catchUp()
	l.destination(`ALTER TABLE t ADD w text; ALTER TABLE f ADD w text`)
	l.source(`ALTER TABLE t ADD w text; ALTER TABLE f ADD w text`)
	l.source(`DELETE FROM f WHERE ctid = '(0,1)'; UPDATE t SET w = 'b' WHERE id < 5; UPDATE f SET w = 'x' WHERE id = 1; DELETE FROM f WHERE id = 2`)
	r.catchUp()
	l.source(`ALTER TABLE t DROP n; UPDATE t SET v = 'c' WHERE id = 6; INSERT INTO t VALUES (30, 'q', 'r')`)
	r.catchUp()
	l.destination(`ALTER TABLE t DROP n`)
	_ = r.kill()
	l.source(`INSERT INTO t VALUES (31, 'older', 's'); DELETE FROM t WHERE id = 9`)
	l.destination(`ALTER TABLE t ADD z int`)
	l.source(`ALTER TABLE t ADD z int; UPDATE t SET z = id`)
	r = l.start()
	r.catchUp()
	l.source(`ALTER TABLE t RENAME v TO v2`)
	l.destination(`ALTER TABLE t RENAME v TO v2`)
	l.source(`INSERT INTO t VALUES (32, 'after', 's', 1); DELETE FROM t WHERE id = 10`)
	_ = l.resume().kill()
	l.equal("public.t", "public.f")
}

// testOtherEncoding has a source that is not in UTF8; what walsenders send of test_decoding is not converted.
func testOtherEncoding(t *testing.T) {
	t.Helper()
	t.Parallel()
	src, dst := testenv.SharedPair(t)
	name := src.Database(t)
	src.Exec(t, "postgres", `DROP DATABASE `+name)
	src.Exec(t, "postgres", `CREATE DATABASE `+name+` TEMPLATE template0 ENCODING 'LATIN9' LC_COLLATE 'C' LC_CTYPE 'C'`)
	l := setupIn(t, src, dst, name, dst.Database(t), `SET client_encoding = 'UTF8'`)
	ddl := `CREATE TABLE "tä" (id int PRIMARY KEY, "é" text)`
	l.source(ddl)
	l.destination(ddl)
	r := l.start()
	l.source(`INSERT INTO "tä" VALUES (1, 'plain'), (2, 'ö€'''), (3, 'é:''[x]'); UPDATE "tä" SET "é" = 'ß' WHERE id = 3`)
	r.catchUp()
	l.equal()
}

// testNoIdentity: without a publication the source lets rows be changed that the stream cannot find.
func testNoIdentity(t *testing.T) {
	t.Helper()
	t.Parallel()
	for name, sql := range map[string]string{
		"update": `UPDATE t SET v = 'y'`, "delete": `DELETE FROM t`,
		"renamed": `INSERT INTO t VALUES (2, 'x'); ALTER TABLE t RENAME TO t2`,
	} {
		t.Run(name, func(t *testing.T) {
			l := setup(t, `CREATE TABLE t (id int, v text)`)
			l.source(`DROP PUBLICATION pub`)
			l.source(`INSERT INTO t VALUES (1, 'x')`)
			l.source(sql)
			if err := ledger.MarkCopied(t.Context(), l.d, l.cfg.Task, schema.Name{Schema: "public", Name: "t"}.String(), 0); err != nil {
				t.Fatal(err)
			}
			if err := l.start().wait(); err == nil || endpoint.Retryable(err) {
				t.Errorf("ended with %v", err)
			}
		})
	}
}
