package accounts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
)

// Items that every role has.
const (
	ItemRole     = "role"
	ItemPassword = "password"
)

// Item is one thing about a role.
type Item struct {
	Role       string
	Name       string // ItemRole, an attribute, a setting, "member of …"
	Value      string // of ItemPassword, only good for comparing
	Membership bool
}

// Describe lists what the source says of the chosen roles and the destination of those of the same names, in items that are equal where
// everything was carried. What is never carried, or not to or from such servers, is left out of both lists. A role without an ItemRole
// does not exist. Both sessions must be in no transaction that has failed.
func Describe(ctx context.Context, src, dst *pgx.Conn, sel schema.Accounts) (here, there []Item, err error) {
	wanted, _, err := Read(ctx, src, sel)
	if err != nil {
		return nil, nil, err
	}
	wanted = slices.DeleteFunc(wanted, func(r Role) bool { return r.System() != "" })
	s, err := open(ctx, dst)
	if err != nil || len(wanted) == 0 {
		return nil, nil, err
	}
	names := make([]string, len(wanted))
	for i, r := range wanted {
		names[i] = r.Name
	}
	existing, _, err := Read(ctx, dst, schema.Accounts{Roles: names})
	if err != nil {
		return nil, nil, err
	}
	for _, r := range wanted {
		here = append(here, Item{Role: r.Name, Name: ItemRole, Value: "exists"})
		i := slices.IndexFunc(existing, func(d Role) bool { return d.Name == r.Name })
		if i < 0 {
			continue
		}
		a, b := s.items(r, existing[i])
		here, there = append(here, a...), append(there, b...)
	}
	a, b, err := memberships(ctx, src, dst, wanted, existing)
	return append(here, a...), append(there, b...), err
}

// items describes a role on both sides.
func (s *server) items(src, dst Role) (here, there []Item) {
	there = append(there, Item{Role: src.Name, Name: ItemRole, Value: "exists"})
	both := func(name, a, b string) {
		here, there = append(here, Item{Role: src.Name, Name: name, Value: a}), append(there, Item{Role: src.Name, Name: name, Value: b})
	}
	for _, attribute := range []struct {
		name         string
		here, there  bool
		neverCarried bool
	}{
		{"LOGIN", src.Login, dst.Login, false},
		{"INHERIT", src.Inherit, dst.Inherit, false},
		{"CREATEROLE", src.CreateRole, dst.CreateRole, false},
		{"CREATEDB", src.CreateDB, dst.CreateDB, !s.mayGiveCreateDB()},
		{"SUPERUSER", src.Superuser, dst.Superuser, true},
		{"REPLICATION", src.Replication, dst.Replication, true},
		{"BYPASSRLS", src.BypassRLS, dst.BypassRLS, true},
	} {
		if attribute.neverCarried && attribute.here && !attribute.there {
			continue
		}
		both(attribute.name, yes(attribute.here), yes(attribute.there))
	}
	both("CONNECTION LIMIT", fmt.Sprint(src.ConnectionLimit), fmt.Sprint(dst.ConnectionLimit))
	both("VALID UNTIL", orEmpty(src.ValidUntil), orEmpty(dst.ValidUntil))
	both("comment", orEmpty(src.Comment), orEmpty(dst.Comment))
	if src.PasswordReadable && dst.PasswordReadable {
		both(ItemPassword, digest(src.password), digest(dst.password))
	}
	here, there = append(here, settings(src)...), append(there, settings(dst)...)
	return here, there
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// digest stands for a password without being of use to anybody.
func digest(password *string) string {
	if password == nil {
		return ""
	}
	sum := sha256.Sum256([]byte(*password))
	return hex.EncodeToString(sum[:])
}

// settings are a role's own, and those in the database that is synchronized.
func settings(r Role) (items []Item) {
	for i, text := range slices.Concat(r.Settings, r.DatabaseSettings) {
		set := parseSetting(text)
		name := "setting " + set.name
		if i >= len(r.Settings) {
			name += " in the database"
		}
		if lists[strings.ToLower(set.name)] {
			set.value = strings.Join(splitList(set.value), ", ")
		}
		items = append(items, Item{Role: r.Name, Name: name, Value: set.value})
	}
	return items
}

// memberships describes those that are carried: of chosen roles in each other and in PostgreSQL's own, none of them a superuser.
func memberships(ctx context.Context, src, dst *pgx.Conn, wanted, existing []Role) (here, there []Item, err error) {
	a, err := readMemberships(ctx, src, wanted)
	if err != nil {
		return nil, nil, err
	}
	b, err := readMemberships(ctx, dst, existing)
	if err != nil {
		return nil, nil, err
	}
	older := false // before 16 what a membership allows follows from the member
	for _, conn := range []*pgx.Conn{src, dst} {
		version, err := schema.ServerVersion(ctx, conn)
		if err != nil {
			return nil, nil, err
		}
		older = older || version < 160000
	}
	super, chosen, present := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, r := range wanted {
		chosen[r.Name] = true
		super[r.Name] = r.Superuser
	}
	for _, r := range existing {
		present[r.Name] = true
		super[r.Name] = super[r.Name] || r.Superuser
	}
	describe := func(list []membership) (items []Item) {
		for _, m := range list {
			known := chosen[m.Member] && (chosen[m.Role] && present[m.Role] || m.RoleSystem) && present[m.Member]
			if !known || super[m.Role] || super[m.Member] || m.RoleSuper || m.MemberSuper {
				continue
			}
			items = append(items, Item{Role: m.Member, Name: "member of " + ident(m.Role), Value: m.options(older), Membership: true})
		}
		return items
	}
	return describe(a), describe(b), nil
}

// options says what a membership allows.
func (m membership) options(older bool) string {
	text := "member"
	if m.Admin {
		text = "ADMIN"
	}
	if !older {
		text += ", INHERIT " + yes(m.Inherit) + ", SET " + yes(m.Assumed)
	}
	return text
}
