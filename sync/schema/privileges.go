package schema

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// rights collects owners and privileges. They are given away when everything else is made, so that the destination's user builds
// what is his own, and default privileges come last of all.
type rights struct {
	carried    bool // the task carries accounts
	roles      map[string]bool
	superusers map[string]bool
	owners     []Entry
	schemas    []Entry // privileges on schemas, which grantors may need themselves
	privileges []Entry
	defaults   []Entry
	left       map[leftRole]*leftObjects
}

// leftRole is one way in which a role does not come to the destination.
type leftRole struct{ role, as, why string }

// leftObjects are those that it concerns.
type leftObjects struct {
	count int
	first string
}

func newRights(inv *Inventory, o PlanOptions) *rights {
	if o.RolesOf != nil {
		inv = o.RolesOf
	}
	return &rights{carried: o.Roles != nil, roles: set(o.Roles), superusers: inv.superusers, left: map[leftRole]*leftObjects{}}
}

const (
	notChosen      = "it is not among the accounts of the task"
	superuserOwner = "superusers are not carried as owners and grantors"
)

// may says why a role cannot be an owner or grantor, or is empty.
func (r *rights) refuses(role string) string {
	switch {
	case r.superusers[role]:
		return superuserOwner
	case !r.roles[role]:
		return notChosen
	}
	return ""
}

func (r *rights) leave(role, as, why string, e *Entry) {
	key := leftRole{role, as, why}
	if r.left[key] == nil {
		kind, name := e.Object()
		if e.Desc == "ACL" || e.Desc == "DEFAULT ACL" {
			kind = "" // part of the name
		}
		r.left[key] = &leftObjects{first: strings.TrimSpace(kind + " " + name)}
	}
	r.left[key].count++
}

// excluded tells of each role what it is not, rather than of each object.
func (r *rights) excluded() []Excluded {
	keys := slices.SortedFunc(maps.Keys(r.left), func(a, b leftRole) int {
		return cmp.Or(strings.Compare(a.role, b.role), strings.Compare(a.as, b.as), strings.Compare(a.why, b.why))
	})
	var list []Excluded
	for _, k := range keys {
		of := r.left[k].first
		if n := r.left[k].count - 1; n > 0 {
			of += fmt.Sprintf(" and %d more", n)
		}
		list = append(list, Excluded{Kind: "ROLE", Name: Name{Name: k.role}, Reason: fmt.Sprintf("not carried as %s %s: %s", k.as, of, k.why)})
	}
	return list
}

// owned are the kinds of objects that have an owner of their own. An event trigger must be a superuser's.
var owned = map[string]bool{
	"AGGREGATE": true, "COLLATION": true, "CONVERSION": true, "DOMAIN": true, "FUNCTION": true, "MATERIALIZED VIEW": true, "OPERATOR": true,
	"OPERATOR CLASS": true, "OPERATOR FAMILY": true, "PROCEDURAL LANGUAGE": true, "PROCEDURE": true, "SCHEMA": true, "SEQUENCE": true,
	"STATISTICS": true, "TABLE": true, "TEXT SEARCH CONFIGURATION": true, "TEXT SEARCH DICTIONARY": true, "TYPE": true, "VIEW": true,
}

// carryOwner gives the object of an entry that is taken to its owner.
func (p *planner) carryOwner(e *Entry) {
	if !p.rights.carried || !owned[e.Desc] || e.Owner == "" {
		return
	}
	if s := p.sequences[e.OID]; s != nil && e.ClassOID == classRelation && s.Identity {
		return // its table's
	}
	object, ok := strings.CutPrefix(strings.TrimSuffix(e.Drop, ";"), "DROP ")
	if !ok || p.follows[e.OID] != nil && e.ClassOID == classRelation {
		return
	}
	if why := p.rights.refuses(e.Owner); why != "" {
		p.rights.leave(e.Owner, "owner of", why, e)
		return
	}
	owner := Entry{
		Section: SectionPostData, Desc: "OWNER", Tag: object, Owner: e.Owner, Table: e.Table,
		Definition: fmt.Sprintf("ALTER %s OWNER TO %s;", object, pgx.Identifier{e.Owner}.Sanitize()),
	}
	if e.ID != 0 {
		owner.Depends = []int{e.ID}
	}
	p.rights.owners = append(p.rights.owners, owner)
}

// carryPrivileges decides about an ACL entry: the statements that name only roles which are carried stay.
func (p *planner) carryPrivileges(e Entry) {
	if !p.rights.carried || !p.privilegesWanted(&e) {
		return
	}
	var statements []string
	grantor := "" // of the rights that follow, not announced yet
	announced := false
	for _, text := range splitStatements(e.Definition) {
		s := parseRight(text)
		switch s.verb {
		case "SET":
			if why := p.rights.refuses(s.role); why != "" {
				p.rights.leave(s.role, "grantor on", why, &e) // the owner grants in its place
			} else {
				grantor = s.role
			}
		case "RESET":
			if announced {
				statements = append(statements, "RESET ROLE;")
			}
			grantor, announced = "", false
		default:
			if !p.keepRight(s, &e) {
				continue
			}
			if grantor != "" && !announced { // a member can become the grantor, for another session user it takes a superuser
				statements = append(statements, "SET ROLE "+pgx.Identifier{grantor}.Sanitize()+";")
				announced = true
			}
			statements = append(statements, text+";")
		}
	}
	if len(statements) == 0 {
		return
	}
	e.Definition = strings.Join(statements, "\n")
	switch {
	case e.Desc == "DEFAULT ACL":
		p.rights.defaults = append(p.rights.defaults, e)
	case strings.HasPrefix(e.Tag, "SCHEMA "):
		p.rights.schemas = append(p.rights.schemas, e)
	default:
		p.rights.privileges = append(p.rights.privileges, e)
	}
}

// keepRight decides about one GRANT or REVOKE.
func (p *planner) keepRight(s right, e *Entry) bool {
	if s.creator != "" {
		if why := p.rights.refuses(s.creator); why != "" {
			p.rights.leave(s.creator, "owner in", why, e)
			return false
		}
	}
	switch {
	case s.verb == "":
		return false
	case s.public, p.rights.roles[s.role] && s.role != e.Owner:
		return true
	case s.role == e.Owner && s.creator == "":
		return p.rights.refuses(e.Owner) == "" // else the destination's user is the owner, with all privileges
	case p.rights.roles[s.role]:
		return true
	}
	p.rights.leave(s.role, "grantee of", notChosen, e)
	return false
}

// privilegesWanted reports whether privileges go with an object that is taken, or whose schema is. Those on schema public stay as they
// are in the destination.
func (p *planner) privilegesWanted(e *Entry) bool {
	if e.Desc == "DEFAULT ACL" {
		return p.scope.other(e.Namespace)
	}
	if rest, ok := strings.CutPrefix(e.Tag, "SCHEMA "); ok {
		if name, _, _ := cutIdentifier(rest); name == "public" {
			if p.scope.whole(name) {
				p.exclude(e, "privileges on schema public are not synchronized")
			}
			return false
		}
	}
	if e.ID == 0 {
		return true // of the inventory
	}
	if len(e.Depends) > 0 && p.byID[e.Depends[0]] != nil {
		return p.annotationTaken(e)
	}
	// The object is not in the dump: it belongs to an extension, or to the system.
	if !p.scope.other(e.Namespace) {
		return false
	}
	reason := ExcludedSchema(e.Namespace)
	if reason != "" {
		p.exclude(e, reason)
	}
	return reason == ""
}

// finishRights adds owners, privileges and default privileges to the plan.
func (p *planner) finishRights() {
	if !p.rights.carried {
		return
	}
	for _, e := range p.inv.schemaGrants {
		p.carryPrivileges(e)
	}
	for _, e := range slices.Concat(p.rights.owners, p.rights.schemas, p.rights.privileges, p.rights.defaults) {
		if err := p.mapper.entry(&e); err != nil {
			continue // a column's privileges, and the column is not selected
		}
		if object, ok := strings.CutPrefix(e.Definition, "ALTER "); ok && e.Desc == "OWNER" {
			e.Target = object[:strings.LastIndex(object, " OWNER TO ")]
		}
		p.plan.After = append(p.plan.After, e)
	}
	p.plan.Excluded = append(p.plan.Excluded, p.rights.excluded()...)
}
