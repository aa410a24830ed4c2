package sync_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"pgsyncd/testenv"
	"pgsyncd/testenv/everything"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the expected outcomes in testdata")

// golden compares got with a file of testdata, or rewrites that.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path, got := filepath.Join("testdata", name), strings.TrimSpace(got)+"\n"
	if *rewrite {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s (- expected, + got):\n%s", path, diff)
	}
}

// everythingPair is two clusters with the roles of package everything in the first.
func everythingPair(t *testing.T) (src, dst *testenv.Cluster) {
	t.Helper()
	src, dst = testenv.Start(t, testenv.Config{}), testenv.Start(t, testenv.Config{})
	if err := everything.CreateRoles(t.Context(), src.Connect(t, "postgres")); err != nil {
		t.Fatal(err)
	}
	return src, dst
}

// sharedPair is two clusters with the roles in both, for all tests that carry none.
var sharedPair = sync.OnceValues(func() (clusters [2]*testenv.Cluster, err error) {
	for i := range clusters {
		if clusters[i], err = testenv.New(context.Background(), testenv.Config{}); err != nil {
			return clusters, err
		}
		conn, err := pgx.Connect(context.Background(), clusters[i].SocketString("postgres"))
		if err != nil {
			return clusters, err
		}
		if err := errors.Join(everything.CreateRoles(context.Background(), conn), conn.Close(context.Background())); err != nil {
			return clusters, err
		}
	}
	return clusters, nil
})

// everythingBetween is setup with such clusters, and a source that create has filled.
func everythingBetween(t *testing.T, create func(context.Context, *pgx.Conn) error) *lab {
	t.Helper()
	clusters, err := sharedPair()
	if err != nil {
		t.Fatal(err)
	}
	l := setupBetween(t, clusters[0], clusters[1], "")
	if err := create(t.Context(), l.s); err != nil {
		t.Fatal(err)
	}
	return l
}

// differences is what pg_dump, the state beyond it and the tables' rows tell of source and destination.
func (l *lab) differences(change func(string) string) string {
	l.Helper()
	var sides [2]everything.Dump
	for i, side := range []struct {
		c  *testenv.Cluster
		db string
	}{{l.src, l.srcDB}, {l.dst, l.dstDB}} {
		dump, err := everything.ReadDump(l.Context(), side.c, side.db)
		if err != nil {
			l.Fatal(err)
		}
		sides[i] = dump
	}
	state := func(i int) everything.Dump {
		state, err := everything.ReadState(l.Context(), [...]*pgx.Conn{l.s, l.d}[i])
		if err != nil {
			l.Fatal(err)
		}
		return state
	}
	return everything.Diff(sides[0].Change(change), sides[1].Change(change)) + everything.Diff(state(0), state(1))
}

// owners are the parts of a dump that tell who an object belongs to.
var owners = regexp.MustCompile(`(?m); Owner: .*$|^ALTER .* OWNER TO .*;\n?`)

func withoutOwners(s string) string { return owners.ReplaceAllString(s, "") }

// Without accounts a policy waits for the roles it names; all else is there, and nobody owns or may anything that the
// destination's user does not.
func TestEverything(t *testing.T) {
	t.Parallel()
	src, dst := everythingPair(t)
	l := setupBetween(t, src, dst, "")
	if err := everything.Create(t.Context(), l.s); err != nil {
		t.Fatal(err)
	}
	l.create("MODE FULL")
	l.sql("START SYNC TASK %[1]s CONFIRM ALL")
	l.fails("start failed")
	l.want("failed checks", l.sql("SELECT item FROM sync_prechecks WHERE task = '%[1]s' AND result = 'failed'"), "roles of policies")
	if err := everything.CreateRoles(t.Context(), dst.Connect(t, "postgres")); err != nil {
		t.Fatal(err)
	}
	l.sql("START SYNC TASK %[1]s CONFIRM ALL")
	l.reach("completed")
	l.objectsEqual()
	golden(t, "everything-none.txt", l.differences(withoutOwners)+"\n"+l.sql("SELECT type, source_name, state, error FROM sync_objects WHERE task = '%[1]s' AND state <> 'created' ORDER BY 1, 2"))
	l.equal()
}

// What is never synchronized is not, nor what cannot be without it; each object is named with its reason, and nothing else suffers.
func TestEverythingExcluded(t *testing.T) {
	t.Parallel()
	l := everythingBetween(t, everything.CreateWithExcluded)
	l.create("MODE FULL START NOW CONFIRM ALL")
	l.reach("completed")
	l.objectsEqual()
	golden(t, "everything-excluded.txt", l.differences(withoutOwners)+"\n"+
		l.sql("SELECT source_schema, source_table, state, error FROM sync_tables WHERE task = '%[1]s' AND state <> 'done' ORDER BY 1, 2")+"\n"+
		l.sql("SELECT type, source_name, state, error FROM sync_objects WHERE task = '%[1]s' AND state <> 'created' ORDER BY 1, 2"))
	l.contains(l.sql("SELECT result, found FROM sync_prechecks WHERE task = '%[1]s' AND item = 'unsupported objects'"), "to confirm|",
		`FOREIGN TABLE "excluded"."far_away" (foreign tables are not synchronized)`, "written in C", "binary-coercible", "more")
	l.want("members of extensions", l.one(l.d, "SELECT to_regclass('excluded.member'), to_regproc('excluded.member_function')"), "|")
}

// changeEverything runs a task from its creation to its end, with changes of all tables between.
func (l *lab) changeEverything(clauses string) {
	l.Helper()
	l.create(clauses)
	l.sql("PRECHECK SYNC TASK %[1]s")
	_, advice, found := strings.Cut(l.sql("SELECT suggestion FROM sync_prechecks WHERE task = '%[1]s' AND item = 'replica identity'"), "on the source:\n")
	if !found {
		l.Fatal("nothing is advised on replica identities")
	}
	l.source(advice)
	l.sql("START SYNC TASK %[1]s CONFIRM ALL")
	l.reach("incremental synchronization")
	if err := everything.Change(l.Context(), l.s); err != nil {
		l.Fatal(err)
	}
	l.caughtUp()
	l.sql("STOP SYNC TASK %[1]s")
	l.reach("completed")
}

// Every table follows its source, by whatever identifies its rows.
func TestEverythingStreams(t *testing.T) {
	t.Parallel()
	l := everythingBetween(t, everything.Create)
	l.changeEverything("")
	l.equal()
	l.objectsEqual()
	golden(t, "everything-streams.txt", l.differences(withoutOwners))
}

// Names are what PostgreSQL permits, not what is usual.
func TestNames(t *testing.T) {
	t.Parallel()
	l := setup(t, "")
	if err := everything.CreateNames(t.Context(), l.s); err != nil {
		t.Fatal(err)
	}
	l.start("")
	if err := everything.ChangeNames(t.Context(), l.s); err != nil {
		t.Fatal(err)
	}
	l.caughtUp()
	l.equal()
	l.sql("STOP SYNC TASK %[1]s")
	l.reach("completed")
	l.objectsEqual()
	golden(t, "names.txt", l.differences(withoutOwners))
}

// renames gives every schema and every table of the source another name, which is awkward too and as long as can be.
func (l *lab) renames() (renames everything.Renames, clause string) {
	l.Helper()
	const schemas = `SELECT nspname FROM pg_namespace WHERE oid >= 16384 AND nspname !~ '^pg_' ORDER BY 1`
	const tables = `SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'public' ORDER BY 1, 2`
	renames = everything.Renames{Schemas: map[string]string{}, Tables: map[[2]string]string{}}
	var items []string
	for i, row := range l.rows(l.s, schemas) {
		to := fmt.Sprintf(`S.%d "é"'`, i)
		renames.Schemas[row[0]] = to
		items = append(items, fmt.Sprintf("SCHEMA %s AS %s", pgx.Identifier{row[0]}.Sanitize(), pgx.Identifier{to}.Sanitize()))
	}
	for i, row := range l.rows(l.s, tables) {
		to := fmt.Sprintf(`t%d `, i) + strings.Repeat("ß", 29)
		renames.Tables[[2]string(row)] = to
		items = append(items, fmt.Sprintf("TABLE %s AS %s", pgx.Identifier(row).Sanitize(), pgx.Identifier{renames.Schemas[row[0]], to}.Sanitize()))
	}
	return renames, "MAP (" + strings.Join(items, ", ") + ")"
}

// rows is one, cell by cell.
func (l *lab) rows(conn *pgx.Conn, sql string) [][]string {
	l.Helper()
	rows, err := read(l.Context(), conn, sql)
	if err != nil {
		l.Fatalf("%s: %s", sql, describe(err))
	}
	return rows
}

// With every schema and table renamed the copy is that of the other test: its names are given back by PostgreSQL itself.
func TestNamesMapped(t *testing.T) {
	t.Parallel()
	l := setup(t, "")
	if err := everything.CreateNames(t.Context(), l.s); err != nil {
		t.Fatal(err)
	}
	renames, clause := l.renames()
	l.start("FOR ALL " + clause)
	if err := everything.ChangeNames(t.Context(), l.s); err != nil {
		t.Fatal(err)
	}
	l.caughtUp()
	l.sql("STOP SYNC TASK %[1]s")
	l.reach("completed")
	l.objectsEqual()
	l.want("schemas not mapped", l.one(l.d, "SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|S\\.[0-9]+ \"é\"''$|information_schema$|public$)'"), "")
	if err := renames.Undo(t.Context(), l.s, l.d); err != nil {
		t.Fatal(err)
	}
	l.equal()
	golden(t, "names-mapped.txt", l.differences(withoutOwners))
}

// Likewise everything else.
func TestEverythingMapped(t *testing.T) {
	t.Parallel()
	l := everythingBetween(t, everything.Create)
	l.source("SET session_replication_role = replica; TRUNCATE tab.regs; RESET session_replication_role") // values of its types name mapped objects
	renames, clause := l.renames()
	l.changeEverything("FOR ALL " + clause)
	l.objectsEqual()
	if err := renames.Undo(t.Context(), l.s, l.d); err != nil {
		t.Fatal(err)
	}
	l.equal()
	golden(t, "everything-mapped.txt", l.differences(withoutOwners))
}

// With accounts, roles come along, and owners and privileges with them, but for what superusers own and grant.
func TestEverythingWithAccounts(t *testing.T) {
	t.Parallel()
	src, dst := everythingPair(t)
	l := setupBetween(t, src, dst, "")
	if err := everything.Create(t.Context(), l.s); err != nil {
		t.Fatal(err)
	}
	l.create("MODE FULL ACCOUNTS ALL START NOW CONFIRM ALL")
	l.reach("completed")
	l.objectsEqual()
	l.accountsEqual()
	var accounts [2]everything.Dump
	for i, c := range []*testenv.Cluster{src, dst} {
		var err error
		if accounts[i], err = everything.ReadAccounts(t.Context(), c.Connect(t, "postgres")); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "everything-accounts.txt", everything.Diff(accounts[0], accounts[1])+"\n"+l.differences(sortedRoles)+"\n"+
		l.sql("SELECT role, synchronized, remarks FROM sync_accounts WHERE task = '%[1]s' ORDER BY 1, 3")+"\n"+
		l.sql("SELECT type, source_name, state, error FROM sync_objects WHERE task = '%[1]s' AND state <> 'created' ORDER BY 1, 2")+"\n"+
		l.sql("SELECT item, result, found FROM sync_prechecks WHERE task = '%[1]s' AND result <> 'passed'"))
	l.equal()
}

// sortedRoles has a policy's roles in one order; pg_dump's is that of the catalog.
func sortedRoles(s string) string {
	return strings.ReplaceAll(s, "TO every_login, every_reader", "TO every_reader, every_login")
}
