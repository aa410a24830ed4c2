package schema_test

import (
	"testing"

	"pgsyncd/sync/schema"
	"pgsyncd/testenv"

	"github.com/google/go-cmp/cmp"
)

func TestColumnLists(t *testing.T) {
	t.Parallel()
	sourceCluster, destinationCluster := testenv.SharedPair(t)
	src := newDatabase(t, sourceCluster, `
CREATE SCHEMA app;
CREATE TABLE app.item (id int PRIMARY KEY, secret text DEFAULT 'x' NOT NULL, label text, n int CHECK (n > 0), serial serial, m int,
  CONSTRAINT differ CHECK (label <> secret), CONSTRAINT fine CHECK (label <> ''), UNIQUE (label), UNIQUE (secret, label));
ALTER TABLE app.item ALTER COLUMN secret SET STATISTICS 10, ALTER COLUMN label SET STATISTICS 20, ALTER COLUMN secret SET STORAGE EXTERNAL;
CREATE INDEX by_secret ON app.item (secret);
CREATE INDEX by_label ON app.item (label) WHERE n > 3;
CREATE STATISTICS app.st ON label, n FROM app.item;
COMMENT ON COLUMN app.item.secret IS 'secret';
COMMENT ON COLUMN app.item.label IS 'label';
CREATE FUNCTION app.fire() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER fire BEFORE UPDATE OF label ON app.item FOR EACH ROW EXECUTE FUNCTION app.fire();
CREATE VIEW app.labels AS SELECT id, label FROM app.item;
CREATE VIEW app.secrets AS SELECT secret FROM app.item;
CREATE TABLE app.parted (id int, secret text, v int) PARTITION BY LIST (id);
CREATE TABLE app.parted_1 (v int, secret text, id int);
ALTER TABLE app.parted ATTACH PARTITION app.parted_1 FOR VALUES IN (1);`)
	rule := func(table string, columns ...schema.ColumnRule) schema.TableRule {
		return schema.TableRule{Table: n(table), Columns: columns}
	}
	for _, test := range []struct {
		name string
		sel  schema.Selection
		want string
	}{
		{"unmapped", schema.Selection{All: true, Rules: []schema.TableRule{
			rule("app.item", schema.ColumnRule{Name: "id"}, schema.ColumnRule{Name: "label"}, schema.ColumnRule{Name: "n"}, schema.ColumnRule{Name: "m"}),
			rule("app.parted", schema.ColumnRule{Name: "id"}, schema.ColumnRule{Name: "v"}),
		}}, `CREATE SCHEMA app;
CREATE TABLE app.item (id int PRIMARY KEY, label text, n int CHECK (n > 0), m int, CONSTRAINT fine CHECK (label <> ''), UNIQUE (label));
ALTER TABLE app.item ALTER COLUMN label SET STATISTICS 20;
CREATE INDEX by_label ON app.item (label) WHERE n > 3;
CREATE STATISTICS app.st ON label, n FROM app.item;
COMMENT ON COLUMN app.item.label IS 'label';
CREATE FUNCTION app.fire() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER fire BEFORE UPDATE OF label ON app.item FOR EACH ROW EXECUTE FUNCTION app.fire();
CREATE VIEW app.labels AS SELECT id, label FROM app.item;
CREATE TABLE app.parted (id int, v int) PARTITION BY LIST (id);
CREATE TABLE app.parted_1 (v int, id int);
ALTER TABLE app.parted ATTACH PARTITION app.parted_1 FOR VALUES IN (1);`},
		{"mapped", schema.Selection{All: true, Map: schema.Mapping{Schemas: []schema.SchemaMap{{From: "app", To: "B"}}}, Rules: []schema.TableRule{
			rule("app.item", schema.ColumnRule{Name: "label", As: "id"}, schema.ColumnRule{Name: "id", As: "label"}, schema.ColumnRule{Name: "n"}),
			rule("app.parted", schema.ColumnRule{Name: "id", As: "x"}, schema.ColumnRule{Name: "v"}),
		}}, `CREATE SCHEMA "B";
CREATE TABLE "B".item (label int CONSTRAINT pkey PRIMARY KEY, id text, n int CONSTRAINT positive CHECK (n > 0), CONSTRAINT fine CHECK (id <> ''),
  CONSTRAINT label UNIQUE (id));
ALTER TABLE "B".item ALTER COLUMN id SET STATISTICS 20;
CREATE INDEX by_label ON "B".item (id) WHERE n > 3;
CREATE STATISTICS "B".st ON id, n FROM "B".item;
COMMENT ON COLUMN "B".item.id IS 'label';
CREATE FUNCTION "B".fire() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER fire BEFORE UPDATE OF id ON "B".item FOR EACH ROW EXECUTE FUNCTION "B".fire();
CREATE VIEW "B".labels AS SELECT id, label FROM "B".item item(id, label, n);
CREATE TABLE "B".parted (x int, v int) PARTITION BY LIST (x);
CREATE TABLE "B".parted_1 (v int, x int);
ALTER TABLE "B".parted ATTACH PARTITION "B".parted_1 FOR VALUES IN (1);
ALTER INDEX "B".by_label RENAME TO "i_HASH_by_label_key";
ALTER TABLE "B".item RENAME CONSTRAINT pkey TO "c_HASH_item_pkey_key";
ALTER TABLE "B".item RENAME CONSTRAINT fine TO "c_HASH_fine_key";
ALTER TABLE "B".item RENAME CONSTRAINT label TO "c_HASH_item_label_key_key";
ALTER TABLE "B".item RENAME CONSTRAINT positive TO "c_HASH_item_n_check_key";`},
	} {
		t.Run(test.name, func(t *testing.T) {
			archive, plan := src.plan(t, test.sel, schema.PlanOptions{Indexes: true})
			for _, list := range [][]schema.Entry{plan.Before, plan.Indexes, plan.Constraints, plan.After} {
				for _, e := range list {
					if e.Refused != "" {
						t.Errorf("%s: %s", e.Key(), e.Refused)
					}
				}
			}
			dst := newDatabase(t, destinationCluster, "")
			dst.build(t, archive, plan)
			want := newDatabase(t, destinationCluster, test.want)
			if diff := cmp.Diff(unhashed(want.plainDump(t)), unhashed(dst.plainDump(t))); diff != "" {
				t.Errorf("structure differs (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{
				`CHECK CONSTRAINT app.item differ: column "secret" of table "app"."item" is not selected`,
				`CONSTRAINT app.item item_secret_label_key: column "secret" of table "app"."item" is not selected`,
				`INDEX app.by_secret: column "secret" of table "app"."item" is not selected`,
				`VIEW app.secrets: column "secret" of table "app"."item" is not selected`,
			}, excluded(plan.Excluded)); diff != "" {
				t.Errorf("excluded (-want +got):\n%s", diff)
			}
		})
	}
}
