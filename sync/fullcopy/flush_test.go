package fullcopy_test

import (
	"testing"

	"pgsyncd/sync/fullcopy"
)

// Rows are written to disk as they come, unless the administrator has decided how.
func TestWriteBack(t *testing.T) {
	t.Parallel()
	for set, want := range map[string]string{"0": "1MB", "64kB": "64kB"} {
		w := setup(t, `CREATE TABLE a (id int); INSERT INTO a VALUES (1)`)
		exec(t, w.dst, "ALTER DATABASE "+w.to+" SET backend_flush_after = '"+set+"'")
		exec(t, w.dst, `CREATE TABLE a (id int); CREATE SCHEMA noted; CREATE TABLE noted.setting (value text);
			CREATE FUNCTION noted.note() RETURNS trigger LANGUAGE plpgsql AS
				$$ BEGIN INSERT INTO noted.setting VALUES (pg_catalog.current_setting('backend_flush_after')); RETURN NULL; END $$;
			CREATE TRIGGER note AFTER INSERT ON a FOR EACH STATEMENT EXECUTE FUNCTION noted.note();
			ALTER TABLE a ENABLE ALWAYS TRIGGER note`)
		w.cfg.ExistingObjects = fullcopy.ExistingUse
		w.run(t)
		equal(t, "backend_flush_after where "+set+" is set", value[string](t, w.dst, "SELECT value FROM noted.setting"), want)
	}
}
