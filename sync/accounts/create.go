package accounts

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Create makes the chosen roles that the destination lacks. It returns one account for each chosen role, and the names of
// those that exist in the destination now, which owners and grants may name. It can be called again after any failure.
func Create(ctx context.Context, src schema.Querier, dst *pgx.Conn, o Options) (list []Account, roles []string, err error) {
	wanted, missing, err := Read(ctx, src, o.Accounts)
	if err != nil || len(wanted)+len(missing) == 0 {
		return nil, nil, err
	}
	s, err := open(ctx, dst)
	if err != nil {
		return nil, nil, err
	}
	for _, r := range wanted {
		a := Account{Role: r.Name}
		switch {
		case r.System() != "":
			a.remark("%s", r.System())
		case o.created(r.Name) && s.has(r.Name):
			a.Synchronized = true
			s.restrict(&a, r)
		case s.has(r.Name) && r.Name == s.user:
			a.remark("It is the task's own user in the destination and left as it is.")
		case s.has(r.Name):
			a.remark("It exists in the destination; its attributes, password and settings are left as they are.")
		default:
			if err := s.create(ctx, &a, r, o.Record); err != nil {
				return nil, nil, fmt.Errorf("create role %s: %w", ident(r.Name), err)
			}
		}
		if s.has(r.Name) && r.System() == "" {
			roles = append(roles, r.Name)
		}
		list = append(list, a)
	}
	for _, name := range missing {
		list = append(list, Account{Role: name, Remarks: "It does not exist in the source."})
	}
	slices.SortFunc(list, func(a, b Account) int { return strings.Compare(a.Role, b.Role) })
	return list, roles, nil
}

// restrict says which attributes are not carried.
func (s *server) restrict(a *Account, r Role) {
	var left []string
	for _, attribute := range []struct {
		name string
		has  bool
	}{
		{"SUPERUSER", r.Superuser},
		{"REPLICATION", r.Replication},
		{"BYPASSRLS", r.BypassRLS},
	} {
		if attribute.has {
			left = append(left, attribute.name)
		}
	}
	if len(left) > 0 {
		a.remark("Without %s, which is never carried.", strings.Join(left, ", "))
	}
	if r.CreateDB && !s.mayGiveCreateDB() {
		a.remark("Without CREATEDB, which %s does not have and so may not give.", ident(s.user))
	}
	if r.Labelled {
		a.remark("Without its security labels.")
	}
	switch {
	case !r.Login:
	case !r.PasswordReadable:
		a.remark("Without its password, because the task's user may not read pg_authid in the source: ALTER ROLE %s PASSWORD '…';", ident(r.Name))
	case r.password != nil && strings.HasPrefix(*r.password, "md5") && s.version >= 100000:
		a.remark("Its password is an MD5 hash: it serves logins for which pg_hba.conf says md5 or password, not scram-sha-256.")
	}
}

// mayGiveCreateDB: since PostgreSQL 16 one can give only what one has.
func (s *server) mayGiveCreateDB() bool { return s.superuser || s.createDB || s.version < 160000 }

// create makes one role with all that belongs to it, in one transaction.
func (s *server) create(ctx context.Context, a *Account, r Role, record func(context.Context, pgx.Tx, string) error) error {
	tx, err := s.conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // without effect after the commit
	refused, err := s.makeRole(ctx, tx, a, r)
	if err != nil {
		return err
	}
	if refused != nil {
		*a = Account{Role: r.Name}
		if refused.Code == "42710" || refused.Code == "23505" { // somebody else was faster
			s.roles[r.Name] = false
			a.remark("It exists in the destination; its attributes, password and settings are left as they are.")
		} else {
			a.remark("It could not be created: %s.", refused.Message)
		}
		return nil
	}
	if err := s.furnish(ctx, tx, a, r); err != nil {
		return err
	}
	if record != nil {
		if err := record(ctx, tx, r.Name); err != nil {
			return err
		}
	}
	if err := tx.Commit(ctx); err != nil {
		return err
	}
	a.Synchronized, s.roles[r.Name] = true, false
	return nil
}

// quiet keeps a query with a secret among its parameters out of the server's log, as far as the user may say so.
const quiet = `SELECT pg_catalog.set_config(s.name, w.value, true) FROM (VALUES
	('log_statement', 'none'), ('log_min_duration_statement', '-1'), ('log_min_duration_sample', '-1'),
	('log_transaction_sample_rate', '0'), ('log_parameter_max_length', '0'), ('log_parameter_max_length_on_error', '0'),
	('pg_stat_statements.track', 'none')) AS w (name, value)
	JOIN pg_catalog.pg_settings s ON s.name = w.name WHERE `

// execute runs the statement that stashed holds. What PL/pgSQL would say of where an error happened holds the statement.
const execute = `DO $$ DECLARE more text; BEGIN
	EXECUTE pg_catalog.current_setting('pgsyncd.statement');
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS more = PG_EXCEPTION_DETAIL;
	RAISE EXCEPTION USING ERRCODE = SQLSTATE, MESSAGE = SQLERRM, DETAIL = more;
END $$`

const stash = "SELECT pg_catalog.set_config('pgsyncd.statement', $1, true)"

// makeRole executes CREATE ROLE, and once more without the password if that is what the destination minds.
func (s *server) makeRole(ctx context.Context, tx pgx.Tx, a *Account, r Role) (*pgconn.PgError, error) {
	sql := "CREATE ROLE " + ident(r.Name) + s.attributes(r)
	s.restrict(a, r)
	if r.password == nil {
		return try(ctx, tx, sql)
	}
	allowed := fmt.Sprint(s.superuser)
	if s.version >= 150000 {
		allowed += " OR pg_catalog.has_parameter_privilege(s.name, 'SET')"
	}
	if _, err := tx.Exec(ctx, quiet+allowed); err != nil {
		return nil, err
	}
	if _, err := tx.Exec(ctx, stash, sql+" PASSWORD "+schema.Literal(*r.password)); err != nil {
		return nil, err
	}
	refused, err := try(ctx, tx, execute)
	if _, err := tx.Exec(ctx, stash, ""); err != nil {
		return nil, err
	}
	if err != nil || refused == nil || refused.Code == "42710" || refused.Code == "23505" {
		return refused, err
	}
	again, err := try(ctx, tx, sql)
	if err == nil && again == nil {
		*a = Account{Role: r.Name}
		without := r
		without.password = nil
		s.restrict(a, without)
		a.remark("Without its password, which the destination refused: %s. ALTER ROLE %s PASSWORD '…';", refused.Message, ident(r.Name))
	}
	return again, err
}

// attributes writes the options of CREATE ROLE.
func (s *server) attributes(r Role) string {
	var b strings.Builder
	for _, option := range []struct {
		name string
		on   bool
	}{
		{"INHERIT", r.Inherit},
		{"CREATEROLE", r.CreateRole},
		{"CREATEDB", r.CreateDB && s.mayGiveCreateDB()},
		{"LOGIN", r.Login},
	} {
		b.WriteString(" ")
		if !option.on {
			b.WriteString("NO")
		}
		b.WriteString(option.name)
	}
	if r.ConnectionLimit >= 0 {
		fmt.Fprintf(&b, " CONNECTION LIMIT %d", r.ConnectionLimit)
	}
	if r.ValidUntil != nil {
		b.WriteString(" VALID UNTIL " + schema.Literal(*r.ValidUntil))
	}
	return b.String()
}

// furnish gives a new role its settings and comment, and makes the task's user a member.
func (s *server) furnish(ctx context.Context, tx pgx.Tx, a *Account, r Role) error {
	attempt := func(what, sql string) error {
		refused, err := try(ctx, tx, sql)
		if refused != nil {
			a.remark("Without %s: %s.", what, refused.Message)
		}
		return err
	}
	for i, text := range slices.Concat(r.Settings, r.DatabaseSettings) {
		target := ident(r.Name)
		if i >= len(r.Settings) {
			target += " IN DATABASE " + ident(s.database)
		}
		set := parseSetting(text)
		if err := attempt("its setting "+set.name, set.statement(target)); err != nil {
			return err
		}
	}
	if r.Comment != nil {
		if err := attempt("its comment", fmt.Sprintf("COMMENT ON ROLE %s IS %s", ident(r.Name), schema.Literal(*r.Comment))); err != nil {
			return err
		}
	}
	if s.superuser {
		return nil
	}
	sql := fmt.Sprintf("GRANT %s TO %s", ident(r.Name), ident(s.user))
	if s.version >= 160000 {
		sql += " WITH INHERIT TRUE, SET TRUE"
	}
	return attempt("the objects it owns, whose owner "+ident(s.user)+" cannot make it", sql)
}
