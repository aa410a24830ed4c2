package schema

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	pq "github.com/pganalyze/pg_query_go/v6"
)

// Right is one privilege that an entry of privileges gives a role, or takes from those it has by default.
type Right struct {
	Role      string // "" for PUBLIC
	Privilege string // such as SELECT, or SELECT ("a") of a column
	Grantor   string // "" for the owner
	Option    bool   // it may be granted on
	Revoked   bool
}

// Compare orders rights.
func (r Right) Compare(o Right) int {
	number := func(b bool) int {
		if b {
			return 1
		}
		return 0
	}
	return cmp.Or(strings.Compare(r.Role, o.Role), strings.Compare(r.Privilege, o.Privilege), strings.Compare(r.Grantor, o.Grantor),
		number(r.Revoked)-number(o.Revoked), number(r.Option)-number(o.Option))
}

// rightKey is what a later statement about a right replaces.
type rightKey struct{ role, privilege, grantor string }

// Rights reads the statements of an entry of kind ACL or DEFAULT ACL. Of two statements about the same right the last counts, and what the
// oldest server concerned does not know is left out.
func (e Entry) Rights(oldest int) ([]Right, error) {
	tree, err := parseAny(e.Definition)
	if err != nil {
		return nil, err
	}
	found := map[rightKey]Right{}
	grantor := ""
	for _, s := range tree.Stmts {
		switch n := s.Stmt.Node.(type) {
		case *pq.Node_VariableSetStmt:
			grantor = ""
			if args := n.VariableSetStmt.Args; len(args) == 1 {
				grantor = args[0].GetAConst().GetSval().GetSval()
			}
		case *pq.Node_GrantStmt:
			addRights(found, n.GrantStmt, grantor, oldest)
		case *pq.Node_AlterDefaultPrivilegesStmt:
			addRights(found, n.AlterDefaultPrivilegesStmt.Action, "", oldest)
		}
	}
	return slices.SortedFunc(maps.Values(found), Right.Compare), nil
}

func addRights(found map[rightKey]Right, g *pq.GrantStmt, grantor string, oldest int) {
	for _, privilege := range privileges(g, oldest) {
		for _, to := range g.Grantees {
			r := Right{Role: to.GetRoleSpec().GetRolename(), Privilege: privilege, Grantor: grantor, Option: g.GrantOption, Revoked: !g.IsGrant}
			found[rightKey{r.Role, privilege, grantor}] = r
		}
	}
}

// privileges are those that a statement is about, one by one.
func privileges(g *pq.GrantStmt, oldest int) (list []string) {
	for _, p := range g.Privileges {
		names, columns := []string{strings.ToUpper(p.GetAccessPriv().GetPrivName())}, ""
		for _, c := range p.GetAccessPriv().GetCols() {
			columns += ", " + Name{Name: c.GetString_().GetSval()}.String()
		}
		if columns != "" {
			columns = " (" + columns[2:] + ")"
		}
		if names[0] == "" {
			names = []string{"SELECT", "INSERT", "UPDATE", "REFERENCES"}
		}
		for _, name := range names {
			list = append(list, name+columns)
		}
	}
	if len(list) == 0 {
		list = allPrivileges(g.Objtype)
	}
	return slices.DeleteFunc(list, func(p string) bool { return p == "MAINTAIN" && oldest < 170000 })
}

// allPrivileges are what ALL stands for.
func allPrivileges(kind pq.ObjectType) []string {
	switch kind {
	case pq.ObjectType_OBJECT_TABLE:
		return []string{"SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN"}
	case pq.ObjectType_OBJECT_SEQUENCE:
		return []string{"USAGE", "SELECT", "UPDATE"}
	case pq.ObjectType_OBJECT_SCHEMA:
		return []string{"USAGE", "CREATE"}
	case pq.ObjectType_OBJECT_FUNCTION, pq.ObjectType_OBJECT_PROCEDURE, pq.ObjectType_OBJECT_ROUTINE, pq.ObjectType_OBJECT_AGGREGATE:
		return []string{"EXECUTE"}
	case pq.ObjectType_OBJECT_LARGEOBJECT:
		return []string{"SELECT", "UPDATE"}
	default:
		return []string{"USAGE"}
	}
}
