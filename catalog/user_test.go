package catalog

import (
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"testing"

	"pgsyncd/testenv"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// accepts tells whether a verifier was made of a password.
func accepts(t *testing.T, stored, password string) bool {
	t.Helper()
	parts := strings.Split(stored, "$")
	if len(parts) != 3 || parts[0] != "SCRAM-SHA-256" {
		t.Fatalf("no verifier: %q", stored)
	}
	count, encoded, _ := strings.Cut(parts[1], ":")
	iterations, err := strconv.Atoi(count)
	if err != nil {
		t.Fatal(err)
	}
	salt, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	computed, err := verifier(password, salt, iterations)
	if err != nil {
		t.Fatal(err)
	}
	return computed == stored
}

// PostgreSQL itself says what the verifier of a password is.
func TestVerifierIsPostgreSQLs(t *testing.T) {
	t.Parallel()
	server := testenv.Shared(t)
	conn := server.Connect(t, "postgres")
	for i, password := range []string{
		"geheim", "with space", "pässwörd", "ﬁ ligature", "a\u00a0b", "\u00ad", "tab\there", "漢字 𝒳", strings.Repeat("long", 200), "\u0627\u0031",
	} {
		role := "verifier_test_" + strconv.Itoa(i)
		var statement, stored string
		err := conn.QueryRow(t.Context(), "SELECT format('SET password_encryption = ''scram-sha-256''; CREATE ROLE %I PASSWORD %L', $1::text, $2::text)", role, password).Scan(&statement)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.PgConn().Exec(t.Context(), statement).ReadAll(); err != nil {
			t.Fatal(err)
		}
		if err := conn.QueryRow(t.Context(), "SELECT rolpassword FROM pg_authid WHERE rolname = $1", role).Scan(&stored); err != nil {
			t.Fatal(err)
		}
		if !accepts(t, stored, password) {
			t.Errorf("%q: PostgreSQL computes %s", password, stored)
		}
		if accepts(t, stored, password+"x") {
			t.Errorf("%q: any password is accepted", password)
		}
		if _, err := conn.Exec(t.Context(), "DROP ROLE "+role); err != nil {
			t.Fatal(err)
		}
	}
	made, err := Verifier("geheim")
	if err != nil || !accepts(t, made, "geheim") || accepts(t, made, "other") {
		t.Errorf("%s, %v", made, err)
	}
}

func TestUsers(t *testing.T) {
	t.Parallel()
	c := setup(t)
	ctx := t.Context()
	admin, err := c.User(ctx, "admin")
	if err != nil || admin.Role != "admin" || !accepts(t, admin.Verifier, "admin's own") {
		t.Errorf("%+v, %v", admin, err)
	}
	u := User{Name: "alice", Role: "monitor", Verifier: "v"}
	if err := c.CreateUser(ctx, u); err != nil {
		t.Fatal(err)
	}
	if err := c.CreateUser(ctx, u); !errors.Is(err, ErrExists) {
		t.Errorf("second of the name: %v", err)
	}
	if err := c.CreateUser(ctx, User{Name: "bob", Role: "king"}); err == nil {
		t.Error("an unknown role was stored")
	}
	if err := c.AlterUser(ctx, "alice", func(u *User) error { u.Role, u.Verifier = "operator", "w"; return nil }); err != nil {
		t.Fatal(err)
	}
	u.Role, u.Verifier = "operator", "w"
	got, err := c.User(ctx, "alice")
	if diff := cmp.Diff(u, got, cmpopts.IgnoreFields(User{}, "CreatedAt")); diff != "" || err != nil || got.CreatedAt.IsZero() {
		t.Errorf("%v\n%s", err, diff)
	}
	if diff := cmp.Diff([]string{"admin admin", "alice operator"}, query(t, c.pool, "SELECT name || ' ' || role FROM sync.sync_users ORDER BY 1")); diff != "" {
		t.Error(diff)
	}
	if err := c.DropUser(ctx, "alice"); err != nil {
		t.Fatal(err)
	}
	_, missing := c.User(ctx, "alice")
	for what, err := range map[string]error{
		"find": missing, "drop": c.DropUser(ctx, "alice"), "alter": c.AlterUser(ctx, "alice", func(*User) error { return nil }),
	} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
