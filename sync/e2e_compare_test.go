package sync_test

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
