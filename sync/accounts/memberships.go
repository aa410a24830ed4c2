package accounts

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
)

// membership is what all grantors of the source together say of one role's membership in another.
type membership struct {
	Role, Member            string
	RoleSystem              bool // Role is one of PostgreSQL's own
	RoleSuper, MemberSuper  bool
	Admin, Inherit, Assumed bool // Assumed: SET ROLE is allowed; both as before PostgreSQL 16 where the source is older
}

const membershipsSQL = `
SELECT r.rolname::text, m.rolname::text, r.oid < $2 OR r.rolname LIKE 'pg\_%', r.rolsuper, m.rolsuper,
       bool_or(a.admin_option), bool_or({inherit}), bool_or({set})
  FROM pg_catalog.pg_auth_members a JOIN pg_catalog.pg_roles r ON r.oid = a.roleid JOIN pg_catalog.pg_roles m ON m.oid = a.member
 WHERE m.rolname = ANY ($1) OR r.rolname = ANY ($1)
 GROUP BY r.oid, r.rolname, r.rolsuper, m.oid, m.rolname, m.rolsuper
 ORDER BY r.rolname::text COLLATE "C", m.rolname::text COLLATE "C"`

// Memberships makes the chosen roles members of each other, and of PostgreSQL's own roles, as they are in the source, and ends
// the membership that Create gave to the task's user. It returns one account for each role that something is to be said of.
// It can be called again.
func Memberships(ctx context.Context, src schema.Querier, dst *pgx.Conn, o Options) ([]Account, error) {
	wanted, _, err := Read(ctx, src, o.Accounts)
	if err != nil || len(wanted) == 0 {
		return nil, err
	}
	list, err := readMemberships(ctx, src, wanted)
	if err != nil {
		return nil, err
	}
	s, err := open(ctx, dst)
	if err != nil {
		return nil, err
	}
	tx, err := dst.Begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("carry memberships: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // without effect after the commit
	if err := s.leave(ctx, tx, wanted, o); err != nil {
		return nil, err
	}
	accounts := map[string]*Account{}
	for _, r := range wanted {
		accounts[r.Name] = &Account{Role: r.Name}
	}
	for _, m := range list {
		if err := s.join(ctx, tx, m, accounts); err != nil {
			return nil, err
		}
	}
	if err := tx.Commit(ctx); err != nil {
		return nil, fmt.Errorf("carry memberships: %w", err)
	}
	var remarks []Account
	for _, r := range wanted {
		if a := accounts[r.Name]; a.Remarks != "" {
			remarks = append(remarks, *a)
		}
	}
	return remarks, nil
}

func readMemberships(ctx context.Context, src schema.Querier, wanted []Role) ([]membership, error) {
	version, err := schema.ServerVersion(ctx, src)
	if err != nil {
		return nil, err
	}
	inherit, set := "m.rolinherit", "true"
	if version >= 160000 {
		inherit, set = "a.inherit_option", "a.set_option"
	}
	var names []string
	for _, r := range wanted {
		if r.System() == "" {
			names = append(names, r.Name)
		}
	}
	sql := strings.NewReplacer("{inherit}", inherit, "{set}", set).Replace(membershipsSQL)
	rows, err := src.Query(ctx, sql, names, uint32(firstOrdinary))
	if err != nil {
		return nil, fmt.Errorf("read memberships: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[membership])
	if err != nil {
		return nil, fmt.Errorf("read memberships: %w", err)
	}
	return list, nil
}

// leave takes the task's user out of the roles it joined to give them their objects.
func (s *server) leave(ctx context.Context, tx pgx.Tx, wanted []Role, o Options) error {
	for _, r := range wanted {
		if s.superuser || !o.created(r.Name) || !s.has(r.Name) {
			continue
		}
		sql := fmt.Sprintf("REVOKE %s FROM %s", ident(r.Name), ident(s.user))
		if _, err := try(ctx, tx, sql); err != nil { // refused where somebody else's grant has replaced the task's: that one stays
			return fmt.Errorf("end the membership of %s in role %s: %w", ident(s.user), ident(r.Name), err)
		}
	}
	return nil
}

// join carries one membership, or says of the member why not.
func (s *server) join(ctx context.Context, tx pgx.Tx, m membership, accounts map[string]*Account) error {
	a := accounts[m.Member]
	if a == nil {
		if r := accounts[m.Role]; r != nil {
			r.remark("Without its member %s, which is not among the task's accounts.", ident(m.Member))
		}
		return nil
	}
	_, chosen := accounts[m.Role]
	lacking := ""
	switch {
	case m.RoleSuper || m.MemberSuper:
		lacking = "memberships of superusers are not carried"
	case !chosen && !m.RoleSystem:
		lacking = "it is not among the task's accounts"
	case !s.has(m.Member):
		return nil // what became of the role itself is known
	case !s.has(m.Role):
		lacking = "the destination has no such role"
	case s.roles[m.Role] || s.roles[m.Member]:
		lacking = "one of them is a superuser in the destination"
	}
	if lacking == "" {
		there, err := s.joined(ctx, tx, m)
		if err != nil || there {
			return err
		}
		refused, err := try(ctx, tx, s.grant(m))
		if err != nil {
			return fmt.Errorf("make %s a member of %s: %w", ident(m.Member), ident(m.Role), err)
		}
		if refused == nil {
			return nil
		}
		lacking = refused.Message
	}
	a.remark("Without its membership in %s: %s.", ident(m.Role), lacking)
	return nil
}

// joined tells whether the destination has the membership already.
func (s *server) joined(ctx context.Context, tx pgx.Tx, m membership) (there bool, err error) {
	sql := `SELECT coalesce(bool_or(a.admin_option), false) >= $3 AND pg_catalog.count(*) > 0`
	arguments := []any{m.Role, m.Member, m.Admin}
	if s.version >= 160000 {
		sql += " AND coalesce(bool_or(a.inherit_option), false) >= $4 AND coalesce(bool_or(a.set_option), false) >= $5"
		arguments = append(arguments, m.Inherit, m.Assumed)
	}
	sql += ` FROM pg_catalog.pg_auth_members a JOIN pg_catalog.pg_roles r ON r.oid = a.roleid JOIN pg_catalog.pg_roles m ON m.oid = a.member
		WHERE r.rolname = $1 AND m.rolname = $2`
	if err := tx.QueryRow(ctx, sql, arguments...).Scan(&there); err != nil {
		return false, fmt.Errorf("read memberships of the destination: %w", err)
	}
	return there, nil
}

// grant writes the statement. What a membership allows is an option since PostgreSQL 16, before it follows from the member.
func (s *server) grant(m membership) string {
	sql := fmt.Sprintf("GRANT %s TO %s", ident(m.Role), ident(m.Member))
	var options []string
	if s.version >= 160000 {
		options = []string{fmt.Sprintf("INHERIT %t", m.Inherit), fmt.Sprintf("SET %t", m.Assumed)}
		if m.Admin {
			options = append(options, "ADMIN TRUE")
		}
	} else if m.Admin {
		options = []string{"ADMIN OPTION"}
	}
	if len(options) > 0 {
		sql += " WITH " + strings.Join(slices.Sorted(slices.Values(options)), ", ")
	}
	return sql
}
