package sync_test

import (
	"os"
	"path/filepath"
	"testing"
)

// What a killed daemon was sent before it committed is removed when the next one starts, and comes again.
func TestTransactionsInProgressOutliveTheDaemon(t *testing.T) {
	t.Parallel()
	l := setupAlone(t, items)
	l.source(`ALTER DATABASE ` + l.srcDB + ` SET logical_decoding_work_mem = '64kB'`)
	l.start("")
	dir := filepath.Join(l.daemon.DataDir(), "work", "spill")
	files := func(pattern string) int {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	writer := l.src.Connect(t, l.srcDB)
	if _, err := writer.Exec(t.Context(), `BEGIN`); err != nil {
		t.Fatal(err)
	}
	if _, err := writer.Exec(t.Context(), `INSERT INTO item SELECT generate_series(100000, 110000)`); err != nil {
		t.Fatal(err)
	}
	l.eventually("the transaction has come", func() bool { return files("*/*") == 1 })
	if err := l.daemon.Kill9(); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "of a task that was dropped"), 0o700); err != nil {
		t.Fatal(err)
	}
	l.restart()
	l.eventually("the transaction has come again", func() bool { return files("*/*") == 1 })
	if n := files("of a task*"); n != 0 {
		t.Error("a directory is left")
	}
	if _, err := writer.Exec(t.Context(), `COMMIT`); err != nil {
		t.Fatal(err)
	}
	l.caughtUp()
	l.equal()
	l.eventually("the file is removed", func() bool { return files("*/*") == 0 })
	l.sql("STOP SYNC TASK %[1]s")
	l.reach("completed")
	l.eventually("nothing is left", func() bool { return files("*") == 0 })
}
