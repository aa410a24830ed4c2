package compare_test

import (
	"fmt"
	"strings"
	"testing"

	"pgsyncd/catalog"
	"pgsyncd/compare"
	"pgsyncd/sync/schema"
	"pgsyncd/testenv"
	"pgsyncd/testenv/everything"

	"github.com/jackc/pgx/v5"
)

// unequal runs a comparison of definitions or accounts and returns what is not equal: "type name", with what was found.
func (l *lab) unequal(kind string) map[string]string {
	l.Helper()
	run := l.await(l.queue(catalog.CompareRun{Type: kind}))
	if run.State != compare.StateFinished || run.Error != "" {
		l.Fatalf("the run is %s: %s", run.State, run.Error)
	}
	if run.TablesTotal == 0 || run.TablesDone != run.TablesTotal {
		l.Errorf("%d of %d compared", run.TablesDone, run.TablesTotal)
	}
	sql := "SELECT type, name, result, source_definition, destination_definition FROM sync.sync_compare_objects"
	if kind == compare.TypeAccounts {
		sql = "SELECT role, item, result, source_value, destination_value FROM sync.sync_compare_accounts"
	}
	rows, err := l.catalog.Pool().Query(l.Context(), sql+" WHERE run_id = $1 AND result <> 'equal'", run.ID)
	if err != nil {
		l.Fatal(err)
	}
	found, different := map[string]string{}, 0
	var about, name, result string
	var here, there *string
	if _, err := pgx.ForEachRow(rows, []any{&about, &name, &result, &here, &there}, func() error {
		found[about+" "+name] = fmt.Sprintf("%s: %s | %s", result, orDash(here), orDash(there))
		if result != compare.ResultExtra && result != compare.ResultUndecided {
			different++
		}
		return nil
	}); err != nil {
		l.Fatal(err)
	}
	if run.TablesDifferent != different {
		l.Errorf("%d are different, but the run says %d", different, run.TablesDifferent)
	}
	return found
}

func orDash(s *string) string {
	if s == nil {
		return "-"
	}
	return *s
}

// everythingTwice is a completed task whose sides were both filled with everything, and that carries all accounts.
func everythingTwice(t *testing.T, sourceVersion, destinationVersion string, fill func(*lab, *pgx.Conn)) *lab {
	t.Helper()
	src, dst := testenv.Start(t, testenv.Config{Version: sourceVersion}), testenv.Start(t, testenv.Config{Version: destinationVersion})
	l := setupOn(t, src, dst)
	l.create("accounts", schema.Selection{All: true, Accounts: schema.Accounts{All: true}}, completed...)
	fill(l, l.s)
	fill(l, l.d)
	l.serve()
	return l
}

func fillEverything(l *lab, conn *pgx.Conn) {
	l.Helper()
	if err := everything.CreateRoles(l.Context(), conn); err != nil {
		l.Fatal(err)
	}
	if err := everything.Create(l.Context(), conn); err != nil {
		l.Fatal(err)
	}
	l.exec(conn, "ALTER ROLE every_login PASSWORD 'md5000102030405060708090a0b0c0d0e0f'; DROP EVENT TRIGGER forbid; DROP EVENT TRIGGER rewrite; SET check_function_bodies = off")
}

// planted is a difference: SQL for the destination, and what is told of it.
type planted struct {
	sql   string
	key   string // kind and name in the source
	found string // how the finding begins
}

func (l *lab) plant(kind string, list []planted) {
	l.Helper()
	for _, p := range list {
		l.exec(l.d, p.sql)
	}
	found := l.unequal(kind)
	for _, p := range list {
		switch got, ok := found[p.key]; {
		case !ok:
			l.Errorf("%s: %s is not found", p.sql, p.key)
		case !strings.HasPrefix(got, p.found):
			l.Errorf("%s: %s is %s\nwant %s", p.sql, p.key, got, p.found)
		}
		delete(found, p.key)
	}
	for key, got := range found {
		l.Errorf("not planted: %s is %s", key, got)
	}
}

func TestPlantedObjects(t *testing.T) {
	t.Parallel()
	l := everythingTwice(t, "", "", fillEverything)
	for key, got := range l.unequal(compare.TypeObjects) {
		t.Errorf("equal sides: %s is %s", key, got)
	}
	l.plant(compare.TypeObjects, plantedObjects)
}

func TestPlantedAccounts(t *testing.T) {
	t.Parallel()
	l := everythingTwice(t, "", "", fillEverything)
	for key, got := range l.unequal(compare.TypeAccounts) {
		t.Errorf("equal sides: %s is %s", key, got)
	}
	l.plant(compare.TypeAccounts, plantedAccounts)
}
