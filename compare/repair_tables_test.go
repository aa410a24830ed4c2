package compare_test

import (
	"strings"
	"testing"

	"pgsyncd/catalog"
	"pgsyncd/sync/schema"
)

// TestRepairOfMappedColumns: columns with other names in the destination, in its key, in several tables that are one there, and beside a generated one.
func TestRepairOfMappedColumns(t *testing.T) {
	t.Parallel()
	l := setup(t)
	l.exec(l.s, `CREATE TABLE a(id int, part text, v text, PRIMARY KEY (id, part)); CREATE TABLE b(id int, part text, v text, PRIMARY KEY (id, part));
		INSERT INTO a VALUES (1, 'a', 'x'), (2, 'a', NULL), (3, 'a', 'z'); INSERT INTO b VALUES (1, 'b', 'y'), (2, 'b', 'w')`)
	l.exec(l.d, `CREATE TABLE "All"("the id" int, part text, "V" text, twice int GENERATED ALWAYS AS ("the id" * 2) STORED, n int GENERATED ALWAYS AS IDENTITY, PRIMARY KEY ("the id", part));
		INSERT INTO "All" VALUES (1, 'a', 'wrong'), (2, 'a', NULL), (1, 'b', 'y'), (7, 'b', 'extra')`)
	rule := func(table string) schema.TableRule {
		return schema.TableRule{Table: name("public", table), Columns: []schema.ColumnRule{{Name: "id", As: "the id"}, {Name: "part"}, {Name: "v", As: "V"}}}
	}
	l.create("columns", schema.Selection{
		Tables: []schema.Name{name("public", "a"), name("public", "b")},
		Map:    schema.Mapping{Relations: []schema.RelationMap{{From: name("public", "a"), To: name("public", "All")}, {From: name("public", "b"), To: name("public", "All")}}},
		Rules:  []schema.TableRule{rule("a"), rule("b")},
	}, completed...)
	run := l.values(nil)
	r := l.repair(run.ID, false)
	for _, row := range r.Rows {
		if row.Outcome != catalog.OutcomeRepaired {
			t.Errorf("%+v", row)
		}
	}
	l.equalNow()
	l.serve()
	if check := l.await(r.Check); len(check.Tables) != 2 || check.TablesTotal != 1 || check.TablesDifferent != 0 {
		t.Errorf("compared again: %+v", check)
	}
	var rows string
	if err := l.d.QueryRow(t.Context(), `SELECT string_agg(concat_ws('|', "the id", part, "V", twice), ' ' ORDER BY part, "the id") FROM "All"`).Scan(&rows); err != nil {
		t.Fatal(err)
	}
	if want := "1|a|x|2 2|a|4 3|a|z|6 1|b|y|2 2|b|w|4"; rows != want {
		t.Errorf("%s, want %s", rows, want)
	}
}

// TestRepairBetweenTables: tables that refer to each other, in a circle and to themselves, immediately and deferred, whatever their order; and
// cascades and ordinary triggers of the destination do nothing, while one that is enabled for replicas is noticed.
func TestRepairBetweenTables(t *testing.T) {
	t.Parallel()
	l := setup(t)
	l.both(`CREATE TABLE a(id int PRIMARY KEY, b int); CREATE TABLE b(id int PRIMARY KEY, a int REFERENCES a ON DELETE CASCADE);
		ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b DEFERRABLE INITIALLY DEFERRED; CREATE TABLE tree(id int PRIMARY KEY, above int REFERENCES tree ON DELETE CASCADE);
		CREATE TABLE log(id int PRIMARY KEY); CREATE TABLE always(id int PRIMARY KEY, v text)`)
	l.exec(l.s, `BEGIN; INSERT INTO a VALUES (1, 1), (2, NULL); INSERT INTO b VALUES (1, 1), (2, 2); COMMIT; INSERT INTO tree VALUES (2, NULL), (1, 2), (3, 1);
		INSERT INTO always VALUES (1, 'x'), (2, 'y')`)
	l.exec(l.d, `BEGIN; INSERT INTO a VALUES (9, 9), (2, 9); INSERT INTO b VALUES (9, 9), (2, 9); COMMIT; INSERT INTO tree VALUES (8, NULL), (2, 8), (1, 8);
		INSERT INTO always VALUES (1, 'old');
		CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO public.log VALUES (1); RETURN NULL; END$$;
		CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON a FOR EACH ROW EXECUTE FUNCTION note();
		CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.v := upper(NEW.v); RETURN NEW; END$$;
		CREATE TRIGGER shout BEFORE INSERT OR UPDATE ON always FOR EACH ROW EXECUTE FUNCTION shout(); ALTER TABLE always ENABLE ALWAYS TRIGGER shout`)
	run := l.values(nil)
	for _, row := range l.repair(run.ID, false).Rows {
		want := catalog.OutcomeRepaired
		if row.SourceTable == `"public"."always"` {
			want = "failed: the row reads back differently"
		}
		if !strings.HasPrefix(row.Outcome, want) {
			t.Errorf("%+v, want %s", row, want)
		}
	}
	l.equalNow("always")
	// What was repaired satisfies the constraints that were not checked.
	l.exec(l.d, `ALTER TABLE a DROP CONSTRAINT a_b_fkey, ADD FOREIGN KEY (b) REFERENCES b; ALTER TABLE b DROP CONSTRAINT b_a_fkey, ADD FOREIGN KEY (a) REFERENCES a;
		ALTER TABLE tree DROP CONSTRAINT tree_above_fkey, ADD FOREIGN KEY (above) REFERENCES tree`)
}
