package fullcopy_test

import (
	"errors"
	"slices"
	"testing"

	"pgsyncd/sync/fullcopy"
	"pgsyncd/testenv"
)

// A table that goes with something that is not synchronized is not missing without a word.
func TestTablesLeftOutAreTold(t *testing.T) {
	t.Parallel()
	w := setup(t, `CREATE FUNCTION positive(int) RETURNS bool LANGUAGE sql IMMUTABLE LEAKPROOF AS 'SELECT $1 > 0';
		CREATE TABLE kept (id int); CREATE TABLE checked (id int CHECK (public.positive(id)))`)
	w.run(t)
	told := slices.IndexFunc(w.report.objects, func(o fullcopy.ObjectProgress) bool {
		return o.Type == "TABLE" && o.Name == `"public"."checked"` && o.State == fullcopy.ObjectLeftOut && o.Error != ""
	})
	if told < 0 {
		t.Errorf("reported %+v", w.report.objects)
	}
}

// The source does not send the values of generated columns, so where the destination stores them they would be missing from
// all rows that come by the stream.
func TestGeneratedColumnThatTheDestinationStores(t *testing.T) {
	t.Parallel()
	w := setup(t, `CREATE TABLE a (v int PRIMARY KEY, twice int GENERATED ALWAYS AS (v * 2) STORED); INSERT INTO a VALUES (1)`)
	exec(t, w.dst, `CREATE TABLE a (v int PRIMARY KEY, twice int)`)
	w.cfg.ExistingObjects = fullcopy.ExistingUse
	w.incremental()
	_, err := fullcopy.Run(t.Context(), w.cfg)
	if refused := new(fullcopy.TablesError); !errors.As(err, &refused) {
		t.Errorf("ended with %v", err)
	}
	w.cfg.Slot, w.cfg.Publication, w.cfg.Task = "", "", newTask() // without a stream there is nothing to miss
	w.run(t)
	testenv.MustEqual(t, w.src, w.dst, "public.a")
}

// Where one side does not know its encoding, the copy brings the bytes that the stream will bring: those of UTF8.
func TestBytesOfUnknownEncodingAreThoseOfTheStream(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ from, value, to, bytes string }{
		{"LATIN1", `E'\xf6'`, "SQL_ASCII", "c3b6"},
		{"SQL_ASCII", `E'\xc3\xb6'`, "LATIN1", "f6"},
		{"SQL_ASCII", `E'\xc3\xb6'`, "UTF8", "c3b6"},
	} {
		t.Run(c.from+" "+c.to, func(t *testing.T) {
			t.Parallel()
			w := setup(t, "")
			for db, in := range map[string]struct {
				*testenv.Cluster
				encoding string
			}{w.from: {w.source, c.from}, w.to: {w.destination, c.to}} {
				in.Exec(t, "postgres", "DROP DATABASE "+db+" WITH (FORCE)")
				in.Exec(t, "postgres", "CREATE DATABASE "+db+" TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C' ENCODING '"+in.encoding+"'")
			}
			w.src, w.dst = w.source.Connect(t, w.from), w.destination.Connect(t, w.to)
			exec(t, w.src, `CREATE TABLE a (t text)`)
			exec(t, w.src, `INSERT INTO a VALUES (`+c.value+`)`)
			w.run(t)
			equal(t, "bytes", value[string](t, w.dst, "SELECT encode(convert_to(t, getdatabaseencoding()), 'hex') FROM a"), c.bytes)
		})
	}
}
