package accounts_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"pgsyncd/sync/accounts"
	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/schema"
	"pgsyncd/testenv"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// odd is a role with a name of the worst kind.
const odd = `Ünï "q'$$ $pgsyncd$ \. select`

const loginOfTask = "dst-user-secret-1"

// pair is a source with roles of every kind and a destination whose user may create roles.
type pair struct {
	src, dst     *testenv.Cluster
	srcDB, dstDB string
	source       *pgx.Conn // as superuser
	user         *pgx.Conn // of the task in the destination
	super        *pgx.Conn // in the destination
	created      map[string]bool
}

func setup(t *testing.T, source, destination string) *pair {
	t.Helper()
	p := &pair{created: map[string]bool{}}
	p.src = testenv.Start(t, testenv.Config{Version: source})
	p.dst = testenv.Start(t, testenv.Config{Version: destination, Settings: map[string]string{
		"shared_preload_libraries": "passwordcheck", "log_statement": "mod",
	}})
	p.srcDB, p.dstDB = p.src.Database(t), p.dst.Database(t)
	p.src.Exec(t, p.srcDB, fmt.Sprintf(`
		CREATE ROLE app LOGIN CREATEDB NOINHERIT CONNECTION LIMIT 3 VALID UNTIL '2040-01-01 00:00:00Z' PASSWORD 'app-secret-1';
		CREATE ROLE boss SUPERUSER LOGIN;
		CREATE ROLE rep REPLICATION LOGIN PASSWORD 'rep-secret-1';
		CREATE ROLE team CREATEROLE;
		CREATE ROLE %[1]s VALID UNTIL 'infinity';
		CREATE ROLE known LOGIN CREATEDB PASSWORD 'known-secret-1';
		CREATE ROLE weak LOGIN PASSWORD 'weak';
		CREATE ROLE stranger;
		ALTER ROLE app SET search_path TO '$user', "My, ""Schema""", public;
		ALTER ROLE app SET work_mem TO '7MB';
		ALTER ROLE app SET log_statement TO 'none';
		ALTER ROLE app SET my.setting TO 'it''s \ so';
		ALTER ROLE app IN DATABASE %[2]s SET search_path TO '';
		ALTER ROLE app IN DATABASE %[2]s SET statement_timeout TO '5min';
		ALTER ROLE app IN DATABASE postgres SET work_mem TO '9MB';
		COMMENT ON ROLE app IS 'it''s \ the app';
		GRANT team TO app WITH ADMIN OPTION; GRANT %[1]s TO team; GRANT boss TO app; GRANT rep TO boss; GRANT team TO known;
		CREATE ROLE outsider; GRANT stranger TO app; GRANT app TO outsider`, ident(odd), p.srcDB))
	p.dst.Exec(t, p.dstDB, fmt.Sprintf(`CREATE ROLE task LOGIN CREATEROLE PASSWORD '%s'; CREATE ROLE known PASSWORD 'other-secret-2';
		GRANT CREATE ON DATABASE %s TO task; CREATE SCHEMA owned AUTHORIZATION task`, loginOfTask, p.dstDB))
	p.source = connect(t, p.src.ConnString(p.srcDB))
	p.super = connect(t, p.dst.ConnString(p.dstDB))
	p.user = connect(t, fmt.Sprintf("host=%s port=%d dbname=%s user=task password=%s sslmode=disable", p.dst.Host(), p.dst.Port(), p.dstDB, loginOfTask))
	return p
}

func connect(t *testing.T, conninfo string) *pgx.Conn {
	t.Helper()
	e, err := endpoint.Parse(conninfo, endpoint.Options{AllowSocket: true})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := e.Connect(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) }) // the server may be gone
	return conn
}

func ident(name string) string { return pgx.Identifier{name}.Sanitize() }

func (p *pair) options() accounts.Options {
	return accounts.Options{
		Accounts: schema.Accounts{Roles: []string{"app", "boss", "rep", "team", odd, "known", "weak", "nobody", "postgres", "pg_monitor"}},
		Created:  func(role string) bool { return p.created[role] },
		Record: func(_ context.Context, _ pgx.Tx, role string) error {
			p.created[role] = true
			return nil
		},
	}
}

// texts reads one text column.
func texts(t *testing.T, conn *pgx.Conn, sql string, args ...any) []string {
	t.Helper()
	rows, err := conn.Query(t.Context(), sql, args...)
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return list
}

// attributes is everything about the carried roles that both sides must agree on.
const attributes = `SELECT concat_ws(' | ', rolname, rolinherit, rolcreaterole, rolcanlogin, rolconnlimit, rolvaliduntil,
		CASE WHEN rolname <> 'weak' THEN rolpassword END, shobj_description(oid, 'pg_authid'))
	FROM pg_catalog.pg_authid WHERE rolname = ANY ($1) ORDER BY rolname::text COLLATE "C"`

const settings = `SELECT concat_ws(' | ', r.rolname, s.setdatabase <> 0, s.setconfig) FROM pg_catalog.pg_db_role_setting s
	JOIN pg_catalog.pg_authid r ON r.oid = s.setrole LEFT JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
	WHERE s.setdatabase = 0 OR d.datname = current_database() ORDER BY 1`

func remarks(list []accounts.Account) map[string]string {
	m := map[string]string{}
	for _, a := range list {
		m[a.Role] = fmt.Sprintf("%t %s", a.Synchronized, a.Remarks)
	}
	return m
}

// carry is the whole story on two servers.
func carry(t *testing.T, source, destination string) {
	t.Helper()
	p := setup(t, source, destination)
	list, roles, err := accounts.Create(t.Context(), p.source, p.user, p.options())
	if err != nil {
		t.Fatal(err)
	}
	made := []string{odd, "app", "boss", "rep", "team", "weak"}
	if diff := cmp.Diff([]string{"app", "boss", "known", "rep", "team", "weak", odd}, roles); diff != "" {
		t.Errorf("roles that exist: %s", diff)
	}
	if diff := cmp.Diff(texts(t, p.source, attributes, made), texts(t, p.super, attributes, made)); diff != "" {
		t.Errorf("attributes: %s", diff)
	}
	want := texts(t, p.source, settings)
	for i := range want { // what only superusers may give
		want[i] = strings.NewReplacer(",log_statement=none", "", `,"my.setting=it's \\ so"`, "").Replace(want[i])
	}
	if diff := cmp.Diff(want, texts(t, p.super, settings)); diff != "" {
		t.Errorf("settings: %s", diff)
	}
	found := remarks(list)
	for role, part := range map[string]string{
		"app": "its setting my.setting: permission denied", "boss": "true Without SUPERUSER", "rep": "true Without REPLICATION", "team": "true ", odd: "true ",
		"known": "false It exists", "weak": "true Without its password, which the destination refused: password must not",
		"nobody": "false It does not exist", "postgres": "false It is a system role",
	} {
		if !strings.Contains(found[role], part) {
			t.Errorf("%s: %q, want %q", role, found[role], part)
		}
	}
	if !strings.HasPrefix(found["app"], "true ") || !strings.Contains(found["app"], "Without its setting log_statement: permission denied") || found["team"] != "true " {
		t.Errorf("%v", found)
	}
	p.ownership(t)
	// Once more, as after a crash.
	again, _, err := accounts.Create(t.Context(), p.source, p.user, p.options())
	if err != nil {
		t.Fatal(err)
	}
	for role, text := range remarks(again) {
		if strings.HasPrefix(text, "true") != strings.HasPrefix(found[role], "true") {
			t.Errorf("%s: %q after %q", role, text, found[role])
		}
	}
	p.secrets(t, list)
	p.memberships(t)
}

// ownership: objects can be given to what was created.
func (p *pair) ownership(t *testing.T) {
	t.Helper()
	for _, sql := range []string{
		"GRANT ALL ON SCHEMA owned TO " + ident(odd), "CREATE TABLE owned.t (a int)", "ALTER TABLE owned.t OWNER TO " + ident(odd),
		"GRANT SELECT ON owned.t TO app", "ALTER DEFAULT PRIVILEGES FOR ROLE team GRANT SELECT ON TABLES TO app",
	} {
		if _, err := p.user.Exec(t.Context(), sql); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

// secrets: no password shows in the server's log, in what is returned, or when a role is printed.
func (p *pair) secrets(t *testing.T, list []accounts.Account) {
	t.Helper()
	log, err := os.ReadFile(p.dst.LogFile())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(log), "CREATE ROLE task") {
		t.Error("the log holds no statements")
	}
	roles, _, err := accounts.Read(t.Context(), p.source, schema.Accounts{All: true})
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(roles)
	if err != nil {
		t.Fatal(err)
	}
	shown := fmt.Sprintf("%+v %#v %v %s %s", list, roles, roles, encoded, log)
	for _, secret := range texts(t, p.source, "SELECT rolpassword FROM pg_catalog.pg_authid WHERE rolpassword IS NOT NULL AND rolname <> 'postgres'") {
		if strings.Contains(shown, secret) || strings.Contains(shown, secret[len(secret)/2:]) {
			t.Errorf("%s shows", secret)
		}
	}
}

const members = `SELECT concat_ws(' IN ', m.rolname, r.rolname) || CASE WHEN bool_or(a.admin_option) THEN ' ADMIN' ELSE '' END
	FROM pg_catalog.pg_auth_members a JOIN pg_catalog.pg_roles r ON r.oid = a.roleid JOIN pg_catalog.pg_roles m ON m.oid = a.member
	WHERE r.rolname !~ '^pg_' GROUP BY m.rolname, r.rolname`

func (p *pair) memberships(t *testing.T) {
	t.Helper()
	for range 2 {
		list, err := accounts.Memberships(t.Context(), p.source, p.user, p.options())
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"app IN team ADMIN", "known IN team", "team IN " + odd}
		if p.dst.VersionNum() >= 160000 { // whoever creates a role administers it
			for _, role := range []string{odd, "app", "boss", "rep", "team", "weak"} {
				want = append(want, "task IN "+role+" ADMIN")
			}
		}
		got := texts(t, p.super, members)
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("memberships: %s", diff)
		}
		found := remarks(list)
		if len(found) != 2 || !strings.Contains(found["app"], `"boss": memberships of superusers`) ||
			!strings.Contains(found["app"], `"stranger": it is not among`) || !strings.Contains(found["app"], `member "outsider"`) ||
			!strings.Contains(found["boss"], `"rep": memberships of superusers`) {
			t.Errorf("%v", found)
		}
	}
}

func TestRolesAreCarried(t *testing.T) {
	t.Parallel()
	carry(t, "15", "15")
}

func TestSourceWithoutPasswords(t *testing.T) {
	t.Parallel()
	p := setup(t, "15", "15")
	p.src.Exec(t, p.srcDB, "CREATE ROLE reader LOGIN PASSWORD 'reader-secret-1'")
	reader := connect(t, fmt.Sprintf("host=%s port=%d dbname=%s user=reader password=reader-secret-1 sslmode=disable", p.src.Host(), p.src.Port(), p.srcDB))
	list, roles, err := accounts.Create(t.Context(), reader, p.super, accounts.Options{Accounts: schema.Accounts{All: true}})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(roles, "stranger") || slices.Contains(roles, "postgres") {
		t.Errorf("%v", roles)
	}
	if found := remarks(list); !strings.Contains(found["app"], "pg_authid") || found["stranger"] != "true " {
		t.Errorf("%v", found)
	}
	if n := texts(t, p.super, "SELECT rolname FROM pg_catalog.pg_authid WHERE rolname = 'app' AND rolpassword IS NOT NULL"); len(n) > 0 {
		t.Error("there is a password")
	}
}

func TestUserWithoutCreateRole(t *testing.T) {
	t.Parallel()
	p := setup(t, "15", "15")
	p.dst.Exec(t, p.dstDB, "ALTER ROLE task NOCREATEROLE")
	list, roles, err := accounts.Create(t.Context(), p.source, p.user, p.options())
	if err != nil {
		t.Fatal(err)
	}
	if found := remarks(list); !strings.Contains(found["app"], "false It could not be created: permission denied") {
		t.Errorf("%v", found)
	}
	if !slices.Equal(roles, []string{"known"}) {
		t.Errorf("%v", roles)
	}
}

func TestBrokenSessionsAndRecordsAreErrors(t *testing.T) {
	t.Parallel()
	p := setup(t, "15", "15")
	o := p.options()
	unrecorded := errors.New("not recorded")
	o.Record = func(context.Context, pgx.Tx, string) error { return unrecorded }
	if _, _, err := accounts.Create(t.Context(), p.source, p.user, o); !errors.Is(err, unrecorded) {
		t.Errorf("%v", err)
	}
	if there := texts(t, p.super, "SELECT rolname FROM pg_catalog.pg_roles WHERE rolname = 'app'"); len(there) > 0 {
		t.Error("a role outlives the transaction of its record")
	}
	o.Record = func(ctx context.Context, _ pgx.Tx, _ string) error {
		_, err := p.super.Exec(ctx, "SELECT pg_terminate_backend($1)", p.user.PgConn().PID())
		return err
	}
	if _, _, err := accounts.Create(t.Context(), p.source, p.user, o); err == nil {
		t.Error("the lost session was not noticed")
	}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	got := accounts.Merge([]accounts.Account{{"a", true, "One."}, {"b", false, ""}}, []accounts.Account{{"a", false, "Two."}, {"c", false, "Three."}})
	want := []accounts.Account{{"a", true, "One. Two."}, {"b", false, ""}, {"c", false, "Three."}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
