package sync_test

import "testing"

// compared runs a comparison to its successful end and returns its number.
func (l *lab) compared(kind string) string {
	l.Helper()
	run := l.sql("COMPARE SYNC TASK %[1]s " + kind)
	l.eventually("the comparison ends", func() bool {
		return l.sql("SELECT state IN ('queued', 'running') FROM sync_compares WHERE run_id = "+run) == "f"
	})
	l.want("comparison of "+kind, l.sql("SELECT state, error FROM sync_compares WHERE run_id = "+run), "finished|")
	return run
}

// objectsEqual compares definitions, which must be the task's.
func (l *lab) objectsEqual() {
	l.Helper()
	run := l.compared("OBJECTS")
	if l.sql("SELECT tables_done > 0 FROM sync_compares WHERE run_id = "+run) != "t" {
		l.Error("no object was compared")
	}
	if got := l.sql("SELECT type, name, result, source_definition, destination_definition FROM sync_compare_objects WHERE result <> 'equal' AND run_id = " + run); got != "" {
		l.Errorf("objects differ:\n%s", got)
	}
}

// accountsEqual compares roles, which must be the task's.
func (l *lab) accountsEqual() {
	l.Helper()
	run := l.compared("ACCOUNTS")
	if got := l.sql("SELECT role, item, result, source_value, destination_value FROM sync_compare_accounts WHERE result <> 'equal' AND run_id = " + run); got != "" {
		l.Errorf("accounts differ:\n%s", got)
	}
}

// A full copy that is done is compared without being asked to; with accounts of its own a task's roles can be, too.
func TestFullIsCompared(t *testing.T) {
	t.Parallel()
	l := setup(t, "CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1), (2); CREATE VIEW v AS SELECT a FROM t")
	l.create("MODE FULL START NOW CONFIRM ALL")
	l.reach("completed")
	l.eventually("the comparisons end", func() bool {
		return l.sql("SELECT type, state, tables_different FROM sync_compares WHERE task = '%[1]s' ORDER BY type") == "OBJECTS|finished|0\nROWS|finished|0"
	})
	l.want("objects", l.sql(`SELECT type, name, result FROM sync_compare_objects WHERE task = '%[1]s' ORDER BY type COLLATE "C"`),
		"CONSTRAINT|\"t_pkey\" ON \"public\".\"t\"|equal\nSCHEMA|\"public\"|equal\nTABLE|\"public\".\"t\"|equal\nVIEW|\"public\".\"v\"|equal")
	if run := l.sql("COMPARE SYNC TASK %[1]s ACCOUNTS"); run != "" {
		l.eventually("the comparison ends", func() bool {
			return l.sql("SELECT state, error FROM sync_compares WHERE run_id = "+run) == "failed|task "+l.task+" carries no accounts"
		})
	}
}
