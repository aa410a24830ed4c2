package sync_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgsyncd/testenv"
)

// The passwords of a task are nowhere to be read: not in any relation, log, process list, session list or file.
func TestSecrets(t *testing.T) {
	t.Parallel()
	l := setup(t, items)
	const first, later = "Xq7-Tiefseetaucher", "Zw9-Gebirgsbach"
	role := "keeper_of_" + l.dstDB
	for _, c := range []*testenv.Cluster{l.src, l.dst} {
		c.Exec(t, "postgres", "CREATE ROLE "+role+" SUPERUSER LOGIN PASSWORD '"+first+"'")
	}
	with := strings.NewReplacer("user="+testenv.Superuser, "user="+role, testenv.Password, first)
	proxy, from := l.through(l.src, l.srcDB)
	l.from, l.to = with.Replace(from), with.Replace(l.to)

	// Statements that fail, at every stage, with the password in their text.
	for code, statement := range map[string]string{
		"42601": "CREATE SYNC TASK %[1]s FROM '" + l.from + "' TOO '" + l.to + "'",
		"22023": "CREATE SYNC TASK %[1]s FROM '" + l.from + " pasword=" + first + "' TO '" + l.to + "'",
		"0A000": "CREATE SYNC TASK %[1]s FROM '" + l.from + "' TO '" + l.to + "' WITH (sync_ddl = true)",
	} {
		if e := l.refused(code, statement); strings.Contains(describe(&e), first) {
			t.Errorf("the password is in an error: %s", describe(&e))
		}
	}
	if rows := l.sql("TEST SYNC CONNECTION '" + strings.Replace(l.to, role, "nobody_at_all", 1) + "'"); strings.Contains(rows, first) {
		t.Error("the password is in the rows of TEST")
	}

	// Where a process is started for the task, nobody sees the password in its arguments or its environment.
	dumping := proxy.StallAfter(func(dir testenv.Direction, kind byte, body []byte) bool {
		return dir == testenv.ToTarget && kind == 0 && bytes.Contains(body, []byte("pgsyncd pg_dump"))
	})
	l.create("START NOW CONFIRM ALL")
	l.await("pg_dump connects", dumping)
	_, port := proxy.Addr()
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	seen := false
	for _, process := range processes {
		arguments, _ := os.ReadFile(filepath.Join(process, "cmdline")) // it may have ended
		environment, _ := os.ReadFile(filepath.Join(process, "environ"))
		if bytes.Contains(arguments, []byte(first)) || bytes.Contains(environment, []byte(first)) {
			t.Errorf("the password is shown by process %q", arguments)
		}
		seen = seen || bytes.Contains(arguments, []byte("pg_dump")) && bytes.Contains(environment, fmt.Appendf(nil, "PGPORT=%d\x00", port))
	}
	if !seen {
		t.Error("no pg_dump was seen")
	}
	proxy.Resume()
	l.reach("incremental synchronization")
	for _, conn := range []string{
		l.one(l.s, "SELECT string_agg(a::text, ',') FROM pg_stat_activity a"), l.one(l.d, "SELECT string_agg(a::text, ',') FROM pg_stat_activity a"),
	} {
		if strings.Contains(conn, first) {
			t.Error("the password is in pg_stat_activity")
		}
	}

	// A login that fails says a lot, but not the password.
	l.sql("ALTER SYNC TASK %[1]s SET DESTINATION PASSWORD '" + later + "'")
	l.fails("incremental synchronization failed")
	l.sql("TEST SYNC TASK %[1]s")
	l.sql("PRECHECK SYNC TASK %[1]s")

	shown := l.sql("SHOW CREATE SYNC TASK %[1]s") + l.sql("SHOW SYNC TASK %[1]s") + l.sql("SHOW SYNC OBJECTS %[1]s") + l.sql("TEST SYNC TASK %[1]s")
	relations := strings.Fields(l.sql("SELECT relname FROM pg_class WHERE relnamespace = 'sync'::regnamespace AND relkind IN ('v', 'r', 'm')"))
	if len(relations) < 10 {
		t.Errorf("only %d relations", len(relations))
	}
	for _, relation := range relations {
		shown += l.sql("SELECT string_agg(r::text, '\n') FROM sync." + relation + " r")
	}
	log, err := os.ReadFile(l.daemon.LogFile())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{first, later} {
		if strings.Contains(shown, s) {
			t.Errorf("%s is shown", s)
		}
		if bytes.Contains(log, []byte(s)) {
			t.Errorf("%s is in the daemon's log", s)
		}
		l.absent(s)
	}
}

// absent looks for a text, plain or merely encoded, in every file the daemon keeps.
func (l *lab) absent(text string) {
	l.Helper()
	forms := [][]byte{[]byte(text), []byte(hex.EncodeToString([]byte(text)))}
	for shift := range 3 { // base64 of the text at any place in another
		padded := append(bytes.Repeat([]byte{'x'}, shift), text...)
		encoded := base64.StdEncoding.EncodeToString(padded)
		forms = append(forms, []byte(encoded[4:len(encoded)-4]))
	}
	files := 0
	kept := os.DirFS(l.daemon.DataDir())
	err := fs.WalkDir(kept, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil //nolint:nilerr // files of a running server come and go
		}
		content, err := fs.ReadFile(kept, path)
		if err != nil {
			return nil //nolint:nilerr // likewise
		}
		files++
		for _, form := range forms {
			if bytes.Contains(content, form) {
				l.Errorf("the password is in %s", path)
			}
		}
		return nil
	})
	if err != nil || files < 100 {
		l.Errorf("%d files seen: %v", files, err)
	}
}
