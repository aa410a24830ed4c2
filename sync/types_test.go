package sync_test

import (
	"fmt"
	"testing"

	"pgsyncd/testenv/everything"
)

// Values at the edges of every type arrive byte for byte, by both formats of the copy and by the stream, as new and as old values.
func TestValues(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"auto", "text"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			l := setup(t, "")
			if err := everything.CreateValues(t.Context(), l.s); err != nil {
				t.Fatal(err)
			}
			l.start("WITH (copy_format = " + format + ")")
			l.exact()
			if err := everything.ChangeValues(t.Context(), l.s); err != nil {
				t.Fatal(err)
			}
			l.caughtUp()
			l.exact()
		})
	}
}

// exact compares all tables as text, and those whose types have the same OIDs everywhere bit by bit.
func (l *lab) exact() {
	l.Helper()
	l.equal()
	for _, table := range []string{"val.builtin", "val.arrays", "val.builtin_no_key", "val.arrays_no_key"} {
		const bits = "SELECT count(*), md5(string_agg(md5(record_send(tuple)), ',' ORDER BY id, md5(record_send(tuple)))) FROM %s tuple"
		if s, d := l.one(l.s, fmt.Sprintf(bits, table)), l.one(l.d, fmt.Sprintf(bits, table)); s != d {
			l.Errorf("%s differs in its bits: %s, %s", table, s, d)
		}
	}
}
