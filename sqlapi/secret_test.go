package sqlapi

import (
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"

	"pgsyncd/testenv"

	"pgregory.net/rapid"
)

// Words that occur in passwords only. Between them stands what has a meaning in some syntax.
const (
	markHead = "zqHeadOfTheSecret"
	markTail = "zqTailOfTheSecret"
)

var secretText = rapid.Map(rapid.SampledFrom([]string{"", " ", "'", `\`, `"`, "@", "/", ":", "%", "?", "&", "=", "#", "$$", ";", "--", "/*", "\n", "ü", "@host/", "' '", "]"}),
	func(middle string) string { return markHead + middle + markTail })

// connections are connection strings of every kind with a password, %s, which is written by a function.
var connections = []struct {
	text  string
	write func(string) string
}{
	{"host=127.0.0.1 port=1 user=u dbname=d sslmode=disable password=%s", quoteConninfoValue},
	{"password=%s host=127.0.0.1 port=1 user=u dbname=d sslmode=disable", quoteConninfoValue},
	{"host=127.0.0.1 port=1 user=u dbname=d sslmode=disable sslpassword=%s", quoteConninfoValue},
	{"postgresql://u:%s@127.0.0.1:1/d?sslmode=disable", url.PathEscape},
	{"postgres://127.0.0.1:1/d?user=u&password=%s&sslmode=disable", url.QueryEscape},
	// Wrong ones: a part of the password is taken for something else, or the whole for something unknown.
	{"host=127.0.0.1 port=1 user=u dbname=d sslmode=disable password=%s", raw},
	{"host=127.0.0.1 port=1 user=u dbname=d password='%s", raw},
	{"host=127.0.0.1 port=1 user=u dbname=d passwd=%s", quoteConninfoValue},
	{"host=127.0.0.1 port=nonsense user=u dbname=d password=%s", quoteConninfoValue},
	{"host=127.0.0.1 port=1 dbname=d password=%s", quoteConninfoValue},
	{"postgresql://u:%s@127.0.0.1:1/d?sslmode=disable", raw},
	{"postgres://127.0.0.1:1/d?user=u&password=%s&sslmode=disable&nonsense=1", raw},
	{"postgres://u:%s@127.0.0.1:nonsense/d", url.PathEscape},
	{"%s", raw},
}

func raw(s string) string { return s }

func quoteConninfoValue(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

// withSecrets are statements with passwords; %[1]s is a connection string, %[2]s a password, %[3]s a new name.
var withSecrets = []string{
	"CREATE SYNC TASK %[3]s FROM %[1]s TO %[1]s",
	"CREATE SYNC TASK %[3]s FROM %[1]s TO %[1]s MODE FULL FOR (TABLE a) START NOW CONFIRM ALL COMMENT 'x'",
	"CREATE SYNC TASK %[3]s FROM %[1]s TO %[1]s START AT 'nonsense'",
	"CREATE SYNC TASK %[3]s FROM %[1]s AND %[1]s",
	"CREATE SYNC TASK %[3]s %[1]s",
	"CREATE SYNC TASK FROM %[1]s TO %[1]s",
	"EXPLAIN CREATE SYNC TASK %[3]s FROM %[1]s TO %[1]s",
	"ALTER SYNC TASK shop SET SOURCE %[1]s",
	"ALTER SYNC TASK shop SET DESTINATION %[1]s",
	"ALTER SYNC TASK shop SET SOURCE PASSWORD %[2]s",
	"ALTER SYNC TASK shop SET DESTINATION PASSWORD %[2]s",
	"ALTER SYNC TASK nobody SET DESTINATION PASSWORD %[2]s",
	"ALTER SYNC TASK shop SET PASSWORD %[2]s",
	"ALTER SYNC TASK shop PASSWORD %[2]s",
	"ALTER SYNC TASK running SET SOURCE %[1]s",
	"TEST SYNC CONNECTION %[1]s",
	"TEST SYNC CONNECTION %[1]s AS SOURCE",
	"TEST SYNC CONNECTION %[1]s AS NONSENSE",
	"TEST CONNECTION %[1]s",
	"TEST SYNC TASK shop",
	"PRECHECK SYNC TASK shop",
	"SHOW CREATE SYNC TASK shop",
	"CREATE SYNC USER %[3]s PASSWORD %[2]s ROLE ADMIN",
	"CREATE SYNC USER %[3]s PASSWORD %[2]s ROLE NONSENSE",
	"CREATE SYNC USER %[3]s PASSWORD %[2]s %[2]s",
	"CREATE SYNC USER %[3]s %[2]s ROLE ADMIN",
	"CREATE SYNC USER %[3]s ROLE ADMIN PASSWORD %[2]s",
	"CREATE SYNC USER admin PASSWORD %[2]s ROLE ADMIN",
	"ALTER SYNC USER admin PASSWORD %[2]s",
	"ALTER SYNC USER nobody PASSWORD %[2]s",
	"ALTER SYNC USER admin PASSWORD = %[2]s",
	"CREATE USER %[3]s PASSWORD %[2]s",
	"ALTER ROLE admin WITH ENCRYPTED PASSWORD %[2]s",
	"CREATE SUBSCRIPTION s CONNECTION %[1]s PUBLICATION p",
	"CREATE SYNC TASK %[3]s FROM %[1]s TO %[1]s WITH (source_ssl_ca = %[2]s)",
	"CREATE SYNC TASK %[3]s FROM %[1]s TO %[1]s WITH (destination_ssl_ca = %[2]s, nonsense = 1)",
}

// literals write a string constant.
var literals = []func(string) string{
	quoteLiteral,
	func(s string) string { return `E'` + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(s) + `'` },
	func(s string) string { return "$q$" + s + "$q$" },
	func(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` },
}

// TestSecrets: whatever is done with a password, it is seen by nobody. Half of the statements are damaged.
func TestSecrets(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.create("shop", "")
	b.create("running", "")
	b.fire("running", "start")
	check := func(what, text string) {
		t.Helper()
		for _, word := range []string{markHead, markTail} {
			if i := strings.Index(text, word); i >= 0 {
				t.Fatalf("%s shows %s: …%s…", what, word, text[max(0, i-100):min(len(text), i+100)])
			}
		}
	}
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		secret := secretText.Draw(r, "secret")
		connection := rapid.SampledFrom(connections).Draw(r, "connection")
		literal := literals[rapid.IntRange(0, len(literals)-1).Draw(r, "literal")]
		conninfo := strings.Replace(connection.text, "%s", connection.write(secret), 1)
		for range 8 {
			n++
			sql := fmt.Sprintf(withSecrets[n%len(withSecrets)]+"%[4]s", literal(conninfo), literal(secret), fmt.Sprint("name", n), "")
			sql = damaged(r, sql)
			check(fmt.Sprintf("the answer to %q", sql), b.seen(sql))
		}
		check("the log", b.log.String())
	})
	tables, err := b.cfg.Catalog.Pool().Query(t.Context(), `SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
		WHERE schemaname = 'pgsyncd' UNION ALL SELECT format('%I.%I', schemaname, viewname) FROM pg_views WHERE schemaname = 'sync'`)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for tables.Next() {
		var name string
		if err := tables.Scan(&name); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	tables.Close()
	for _, name := range names {
		var dump string
		sql := "SELECT coalesce(string_agg(t::text, E'\\n'), '') FROM " + name + " t"
		if err := b.cfg.Catalog.Pool().QueryRow(t.Context(), sql).Scan(&dump); err != nil {
			t.Fatal(err)
		}
		check(name, dump)
	}
	if len(names) < 20 {
		t.Errorf("only %d relations in the catalog", len(names))
	}
	if users := b.do("SELECT count(*) FROM sync_users").one(t); users == "1" {
		t.Error("no statement got through")
	}
	serverLog, err := os.ReadFile(testenv.Shared(t).LogFile())
	if err != nil {
		t.Fatal(err)
	}
	check("the log of the catalog's server", string(serverLog))
}

// damaged spoils half of the statements.
func damaged(r *rapid.T, sql string) string {
	switch rapid.IntRange(0, 5).Draw(r, "damage") {
	case 0:
		return sql[:rapid.IntRange(0, len(sql)).Draw(r, "cut")]
	case 1:
		at := rapid.IntRange(0, len(sql)).Draw(r, "at")
		return sql[:at] + rapid.SampledFrom([]string{"'", `"`, " ", "x", "$$", "(", ",", "\x00", "\xff"}).Draw(r, "insertion") + sql[at:]
	case 2:
		return sql + " nonsense"
	}
	return sql
}

// seen is all that becomes visible when a client sends a text: answers, what is relayed to the catalog, and the parsed
// statement, should anybody print it.
func (b *bench) seen(sql string) string {
	segments, err := Split(sql)
	if err != nil {
		return fmt.Sprintf("%+v", AsError(err))
	}
	var seen strings.Builder
	for _, segment := range segments {
		switch segment.Kind {
		case Refused:
			fmt.Fprintf(&seen, "%+v", segment.Err)
		case Control:
			if stmt, err := Parse(segment.Text); err == nil {
				fmt.Fprintf(&seen, "%v %+v %#v", stmt, stmt, stmt)
			}
			if p, err := b.Prepare(&Session{Privilege: Admin}, segment.Text); err == nil {
				seen.WriteString(p.Query)
			}
			a := b.as(Admin, segment.Text)
			seen.WriteString(a.text())
			for err := error(a.err); a.err != nil && err != nil; {
				fmt.Fprintf(&seen, "%v", err)
				wrapped, ok := err.(interface{ Unwrap() error })
				if !ok {
					break
				}
				err = wrapped.Unwrap()
			}
		case Plain, Empty:
		}
	}
	return seen.String()
}
