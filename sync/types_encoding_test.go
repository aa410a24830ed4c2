package sync_test

import (
	"encoding/hex"
	"fmt"
	"testing"

	"pgsyncd/testenv"

	"github.com/jackc/pgx/v5"
)

// encodings makes both databases anew, with the given encodings.
func (l *lab) encodings(source, destination string) {
	l.Helper()
	for _, side := range []struct {
		cluster            *testenv.Cluster
		database, encoding string
		session            **pgx.Conn
	}{{l.src, l.srcDB, source, &l.s}, {l.dst, l.dstDB, destination, &l.d}} {
		side.cluster.Exec(l.T, "postgres", "DROP DATABASE "+side.database+" WITH (FORCE)")
		side.cluster.Exec(l.T, "postgres", fmt.Sprintf("CREATE DATABASE %s TEMPLATE template0 LOCALE 'C' ENCODING '%s'", side.database, side.encoding))
		*side.session = side.cluster.Connect(l.T, side.database)
	}
}

// Text arrives as the same characters where both sides know their encodings, and as the same bytes where neither does. The
// precheck has a word on every pair that may not fit; what does not fit stops the task with the place named.
func TestValuesOfEncodings(t *testing.T) {
	t.Parallel()
	const umlaut = "\xf6" // ö in LATIN1; alone no character of UTF8
	for _, c := range []struct {
		from, to      string
		value, stream string // bytes of the value that is copied, and of the one that is streamed
		arrives       string // bytes of the destination; empty where the copy must fail
		check         string // what the precheck makes of it
		says          string // part of the error
	}{
		{"LATIN1", "UTF8", umlaut, umlaut, "ö", "passed", ""},
		{"LATIN1", "LATIN1", umlaut, umlaut, umlaut, "passed", ""},
		{"WIN1252", "UTF8", "\x80", "\x80", "€", "passed", ""},
		{"EUC_JP", "UTF8", "\xc6\xfc", "\xc6\xfc", "日", "passed", ""},
		{"UTF8", "LATIN1", "ö", "ö", umlaut, "to confirm", ""},
		{"UTF8", "LATIN1", "ö", "€", umlaut, "to confirm", "in encoding"},
		{"UTF8", "LATIN1", "€", "", "", "to confirm", "in encoding"},
		{"SQL_ASCII", "SQL_ASCII", umlaut + "\xc3", umlaut + "\xc3", umlaut + "\xc3", "passed", ""},
		{"SQL_ASCII", "UTF8", "ö", "ß", "ö", "to confirm", ""},
		{"SQL_ASCII", "UTF8", umlaut, "", "", "to confirm", "invalid byte sequence"},
		{"SQL_ASCII", "UTF8", "ö", umlaut, "ö", "to confirm", "invalid byte sequence"},
		{"UTF8", "SQL_ASCII", "ö", "€", "ö", "to confirm", ""},
	} {
		t.Run(fmt.Sprintf("%s to %s %x %x", c.from, c.to, c.value, c.stream), func(t *testing.T) {
			t.Parallel()
			l := setup(t, "")
			l.encodings(c.from, c.to)
			put := func(id int, value string) {
				t.Helper()
				l.source(fmt.Sprintf("SET client_encoding = %s; INSERT INTO a VALUES (%d, convert_from('\\x%s', '%[1]s'))", c.from, id, hex.EncodeToString([]byte(value))))
			}
			l.source("CREATE TABLE a (id int PRIMARY KEY, t text)")
			put(1, c.value)
			l.create("WITH (retry_limit = 0)")
			l.sql("PRECHECK SYNC TASK %[1]s")
			l.want("precheck", l.sql("SELECT result FROM sync_prechecks WHERE task = '%[1]s' AND item = 'encoding'"), c.check)
			l.sql("START SYNC TASK %[1]s CONFIRM ALL")
			if c.arrives == "" {
				l.fails("full synchronization failed")
				l.contains(l.status("error"), c.says, "public", "a")
				return
			}
			l.reach("incremental synchronization")
			bytes := func(id int) string {
				return l.one(l.d, fmt.Sprintf("SELECT encode(convert_to(t, getdatabaseencoding()), 'hex') FROM a WHERE id = %d", id))
			}
			l.want("copied", bytes(1), hex.EncodeToString([]byte(c.arrives)))
			put(2, c.stream)
			if c.says != "" {
				l.fails("incremental synchronization failed")
				l.contains(l.status("error"), c.says)
				return
			}
			l.caughtUp()
			if c.value == c.stream {
				l.want("streamed", bytes(2), bytes(1))
			}
			if c.from == c.to || c.from != "SQL_ASCII" && c.to != "SQL_ASCII" {
				l.equal()
			}
		})
	}
}
