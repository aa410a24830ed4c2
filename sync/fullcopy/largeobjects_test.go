package fullcopy_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"pgsyncd/sync/fullcopy"
	"pgsyncd/testenv"

	"github.com/jackc/pgx/v5"
)

// lobs makes large objects: many small ones, an empty one, one with a hole, and one of several chunks.
const lobs = `
SELECT lo_from_bytea(20000 + i, decode(md5(i::text), 'hex')) FROM generate_series(1, 250) i;
SELECT lo_create(30000);
SELECT lo_from_bytea(30001, ''); SELECT lo_put(30001, 5000000, 'end');
SELECT lo_from_bytea(30002, decode(repeat(md5('x'), 100000), 'hex'));
SELECT lo_from_bytea(30003, decode(repeat('ab', 32768), 'hex'));
COMMENT ON LARGE OBJECT 30002 IS 'it''s \ large';
`

const lobRows = `SELECT oid, md5(lo_get(oid)), coalesce(obj_description(oid, 'pg_largeobject'), '') FROM pg_largeobject_metadata`

func TestLargeObjects(t *testing.T) {
	t.Parallel()
	w := setup(t, lobs+"CREATE TABLE a AS SELECT 30002::oid AS o")
	w.cfg.LargeObjects = true
	exec(t, w.dst, "SELECT lo_from_bytea(99, 'mine')")
	w.run(t)
	w.sameRows(t, lobRows+" UNION ALL VALUES (99::oid, md5('mine'), '')", lobRows)
	testenv.MustEqual(t, w.src, w.dst, "public.a")
	// A task without them leaves them alone.
	w.to = w.destination.Database(t)
	w.dst, w.cfg.Destination = w.destination.Connect(t, w.to), parse(t, w.destination.ConnString(w.to))
	w.cfg.Task, w.cfg.LargeObjects = newTask(), false
	w.run(t)
	equal(t, "objects", value[int](t, w.dst, "SELECT count(*) FROM pg_largeobject_metadata"), 0)
}

// Wherever it is cut off, the next run goes on, and what is there once is not brought again.
func TestLargeObjectsResume(t *testing.T) {
	t.Parallel()
	w := setup(t, lobs)
	w.cfg.LargeObjects = true
	source, destination := w.through(t)
	touched := false
	for i, large := range []int{1, 1, 5, 8} {
		n := 0
		p := []*testenv.Proxy{source, destination}[i%2]
		cut := p.CutAfter(func(_ testenv.Direction, kind byte, body []byte) bool {
			if (kind == 'D' || kind == 'B') && len(body) > 30000 { // DataRow, Bind
				n++
			}
			return n == large
		})
		_, err := fullcopy.Run(t.Context(), w.cfg)
		wasCut(t, cut, err)
		if !touched && value[bool](t, w.dst, "SELECT EXISTS (SELECT FROM pg_largeobject_metadata WHERE oid = 20001)") {
			exec(t, w.dst, "SELECT lo_put(20001, 0, 'touched')")
			touched = true
		}
	}
	equal(t, "something came before the last cut", touched, true)
	w.run(t)
	equal(t, "brought once", value[string](t, w.dst, "SELECT encode(substr(lo_get(20001), 1, 7), 'escape')"), "touched")
	w.sameRows(t, lobRows+" WHERE oid <> 20001", lobRows+" WHERE oid <> 20001")
	// A task that begins anew brings them all again.
	exec(t, w.dst, "DELETE FROM pgsyncd.progress WHERE task = $1::uuid", w.cfg.Task)
	exec(t, w.src, "SELECT lo_unlink(20002)")
	exec(t, w.dst, "SELECT lo_unlink(20002)")
	w.run(t)
	w.sameRows(t, lobRows, lobRows)
}

// What the destination has under the same OID follows existing_objects.
func TestLargeObjectsExist(t *testing.T) {
	t.Parallel()
	const mine = "SELECT encode(lo_get(20003), 'escape')"
	for existing, want := range map[fullcopy.Existing]string{
		fullcopy.ExistingFail: "mine", fullcopy.ExistingUse: "mine", fullcopy.ExistingAppend: "mine", fullcopy.ExistingReplace: "",
	} {
		t.Run(string(existing), func(t *testing.T) {
			t.Parallel()
			w := setup(t, lobs)
			w.cfg.LargeObjects, w.cfg.ExistingObjects = true, existing
			exec(t, w.dst, "SELECT lo_from_bytea(20003, 'mine')")
			for range 2 {
				_, err := fullcopy.Run(t.Context(), w.cfg)
				if existing != fullcopy.ExistingFail && err != nil {
					t.Fatal(err)
				}
				if existing == fullcopy.ExistingFail {
					equal(t, "failure", objectsError(t, err).Failures[0].Name, "20003")
				}
			}
			w.sameRows(t, lobRows+" WHERE oid <> 20003", lobRows+" WHERE oid <> 20003")
			if want == "" {
				w.sameRows(t, lobRows, lobRows)
				return
			}
			equal(t, "the destination's own", value[string](t, w.dst, mine), want)
			exec(t, w.dst, "SELECT lo_unlink(20003)")
			w.run(t)
			w.sameRows(t, lobRows, lobRows)
		})
	}
}

// Large objects that the user may not read are named; owners and grants are those of the roles that are carried.
func TestLargeObjectsOfOthers(t *testing.T) {
	t.Parallel()
	w := setup(t, lobs)
	w.cfg.LargeObjects = true
	reader, owner, other := "lobreader_"+w.from, "lobowner_"+w.from, "lobother_"+w.from
	for _, role := range []string{reader, owner, other} {
		w.source.Exec(t, w.from, "CREATE ROLE "+role+" LOGIN PASSWORD 'pw'")
	}
	w.source.Exec(t, w.from, fmt.Sprintf(`SELECT lo_unlink(oid) FROM pg_largeobject_metadata WHERE oid BETWEEN 20006 AND 20250;
		ALTER LARGE OBJECT 20001 OWNER TO %[2]s; GRANT SELECT ON LARGE OBJECT 20001 TO %[1]s WITH GRANT OPTION; GRANT UPDATE ON LARGE OBJECT 20001 TO %[3]s;
		ALTER LARGE OBJECT 20002 OWNER TO %[2]s; GRANT %[2]s TO %[1]s;
		GRANT SELECT ON LARGE OBJECT 20003 TO PUBLIC; GRANT SELECT ON LARGE OBJECT 20004 TO %[3]s`, reader, owner, other))
	w.destination.Exec(t, w.to, "CREATE ROLE "+reader+"; CREATE ROLE "+owner+";")
	w.cfg.Source = parse(t, w.source.ConnString(w.from)+" user="+reader+" password=pw")
	w.cfg.Roles = func(context.Context, *pgx.Conn, *pgx.Conn) ([]string, error) { return []string{reader, owner}, nil }
	w.run(t)
	equal(t, "what a superuser granted on an own one", value[string](t, w.dst, "SELECT split_part(lomacl[2]::text, '/', 1) FROM pg_largeobject_metadata WHERE oid = 20003"), "=r")
	equal(t, "copied", value[string](t, w.dst, "SELECT string_agg(oid::text, ' ' ORDER BY oid) FROM pg_largeobject_metadata"), "20001 20002 20003")
	equal(t, "owner and grants", value[string](t, w.dst, "SELECT lomowner::regrole || ' ' || lomacl::text FROM pg_largeobject_metadata WHERE oid = 20001"),
		fmt.Sprintf("%[1]s {%[1]s=rw/%[1]s,%[2]s=r*/%[1]s}", owner, reader))
	var left []string
	for _, o := range w.report.objects {
		if o.Type == "LARGE OBJECT" && o.State == fullcopy.ObjectLeftOut && o.Error != "" {
			left = append(left, o.Name)
		}
	}
	equal(t, "left out", left, []string{"20004", "20005", "30000", "30001", "30002", "30003"})

	boom := errors.New("boom")
	w.cfg.Roles = func(context.Context, *pgx.Conn, *pgx.Conn) ([]string, error) { return nil, boom }
	if _, err := fullcopy.Run(t.Context(), w.cfg); !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
}
