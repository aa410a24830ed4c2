package sync_test

import "testing"

// Trap 11: what is larger than 1 GB as text cannot be decoded by any server. The task says which limit was met, at the start or
// in the stream, and has not gone past it.
func TestValueThatIsTooLarge(t *testing.T) { //nolint:paralleltest // it takes memory
	l := setup(t, items+`CREATE TABLE large (id int PRIMARY KEY, b bytea); ALTER TABLE large ALTER b SET STORAGE EXTERNAL`)
	l.start("WITH (retry_limit = 0)")
	l.source("UPDATE item SET v = 1")
	l.caughtUp()
	l.source("INSERT INTO large VALUES (1, convert_to(repeat('x', 540000000), 'SQL_ASCII'))")
	l.source("UPDATE item SET v = 2")
	l.fails("incremental synchronization failed")
	l.contains(l.status("error"), "invalid memory alloc request size")
	l.contains(l.status("error_detail"), "associated LSN ", "out-of-line data of the task's tables: public.large (")
	l.contains(l.status("error_hint"), "more than 1 GB as text", "RESET SYNC TASK "+l.task)
	l.want("changes behind it", l.one(l.d, "SELECT count(*) FROM item WHERE v = 2"), "0")
	l.want("the value", l.one(l.d, "SELECT count(*) FROM large"), "0")
}
