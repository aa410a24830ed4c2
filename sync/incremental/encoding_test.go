package incremental_test

import (
	"log/slog"
	"strings"
	"testing"

	"pgsyncd/testenv"
)

// Databases that do not know the encoding of their text get it byte for byte, whatever way rows take.
func TestTextOfNoKnownEncoding(t *testing.T) {
	t.Parallel()
	src, dst := testenv.SharedPair(t)
	bytesOnly := func(c *testenv.Cluster) string {
		db := c.Database(t)
		c.Exec(t, "postgres", "DROP DATABASE "+db+" WITH (FORCE)")
		c.Exec(t, "postgres", "CREATE DATABASE "+db+" TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C' ENCODING 'SQL_ASCII'")
		return db
	}
	l := setupIn(t, src, dst, bytesOnly(src), bytesOnly(dst),
		`CREATE TABLE a (id text PRIMARY KEY, v text); CREATE TABLE f (v text); ALTER TABLE f REPLICA IDENTITY FULL`)
	var told strings.Builder
	l.cfg.Logger = slog.New(slog.NewTextHandler(&told, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r := l.start()
	l.source(`INSERT INTO a SELECT E'\xf6' || i, E'\xff\xfe' FROM generate_series(1, 20000) i`)
	r.catchUp()
	l.source(`UPDATE a SET v = E'\xc3' WHERE id < E'\xf62'; UPDATE a SET id = E'\xf7' WHERE id = E'\xf63'; DELETE FROM a WHERE id = E'\xf64';
		INSERT INTO f VALUES (E'\xe4'), (E'\xe4'), (E'\xfc'); DELETE FROM f WHERE ctid = '(0,1)'; UPDATE f SET v = E'\xdf' WHERE v = E'\xfc'`)
	r.catchUp()
	const content = `SELECT md5(string_agg(id || ' ' || v, ',' ORDER BY id)) || (SELECT string_agg(encode(convert_to(v, 'SQL_ASCII'), 'hex'), ',' ORDER BY v) FROM f) FROM a`
	if got, want := l.one(l.d, content), l.one(l.s, content); got != want {
		t.Errorf("destination %s, source %s", got, want)
	}
	if _ = r.kill(); strings.Contains(told.String(), "applied again") {
		t.Error("sessions that work ahead refuse the text:\n" + told.String())
	}
}
