package compare

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"pgsyncd/catalog"
	"pgsyncd/sync/accounts"
	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/schema"
)

// accounts compares the roles that the task carries: what they are, whose members they are, and what they may.
func (j *job) accounts(ctx context.Context) error {
	list, err := j.compareAccounts(ctx)
	if err != nil {
		return err
	}
	if err := j.cfg.Catalog.SaveCompareAccounts(ctx, j.run.ID, list); err != nil {
		return err
	}
	for _, a := range list {
		j.tally(a.Result)
	}
	return nil
}

func (j *job) compareAccounts(ctx context.Context) ([]catalog.CompareAccount, error) {
	t, err := j.readStructure(ctx)
	if err != nil {
		return nil, err
	}
	if t.selection.Accounts.None() {
		return nil, fmt.Errorf("task %s carries no accounts", j.task.Name)
	}
	if t.unseen.names != nil {
		return nil, fmt.Errorf("privileges in the destination cannot be read: %s", strings.Join(slices.Compact(slices.Sorted(maps.Values(t.unseen.targets))), " "))
	}
	src, err := j.source.Connect(ctx, j.application)
	if err != nil {
		return nil, err
	}
	defer endpoint.CloseConn(ctx, src)
	dst, err := j.destination.Connect(ctx, j.application)
	if err != nil {
		return nil, err
	}
	defer endpoint.CloseConn(ctx, dst)
	here, there, err := accounts.Describe(ctx, src, dst, t.selection.Accounts)
	if err != nil {
		return nil, err
	}
	if j.task.State != catalog.StateCompleted { // which is when memberships are made
		here, there = withoutMemberships(here, there)
	}
	return append(compareItems(here, there), t.compareRights()...), nil
}

// withoutMemberships leaves out those that the destination does not have yet.
func withoutMemberships(here, there []accounts.Item) (a, b []accounts.Item) {
	early := func(list []accounts.Item) []accounts.Item {
		return slices.DeleteFunc(list, func(i accounts.Item) bool { return i.Membership })
	}
	return early(here), early(there)
}

// compareItems compares what is known of roles on both sides. A role that the destination lacks is told in one line.
func compareItems(here, there []accounts.Item) []catalog.CompareAccount {
	type key struct{ role, item string }
	values := map[key][2]*string{}
	present := map[string]bool{}
	for side, list := range [][]accounts.Item{here, there} {
		for _, i := range list {
			v := values[key{i.Role, i.Name}]
			v[side] = &i.Value
			values[key{i.Role, i.Name}] = v
			present[i.Role] = present[i.Role] || side == 1 && i.Name == accounts.ItemRole
		}
	}
	var list []catalog.CompareAccount
	for k, v := range values {
		if !present[k.role] && k.item != accounts.ItemRole {
			continue
		}
		list = append(list, account(k.role, k.item, v))
	}
	return ordered(list)
}

// account is the outcome of one item; a value is nil where a side has none.
func account(role, item string, v [2]*string) catalog.CompareAccount {
	a := catalog.CompareAccount{Role: role, Item: item, Result: ResultEqual, SourceValue: v[0], DestinationValue: v[1]}
	switch {
	case v[0] != nil && v[1] == nil && item == accounts.ItemRole:
		a.Result = ResultMissing
	case v[0] == nil || v[1] == nil || *v[0] != *v[1]:
		a.Result = ResultDifferent
	}
	if item == accounts.ItemPassword { // the values are hashes of hashes, which are nobody's business
		a.SourceValue, a.DestinationValue = nil, nil
	}
	return a
}

func ordered(list []catalog.CompareAccount) []catalog.CompareAccount {
	slices.SortFunc(list, func(a, b catalog.CompareAccount) int {
		return cmp.Or(strings.Compare(a.Role, b.Role), strings.Compare(a.Item, b.Item))
	})
	return list
}

// compareRights compares the privileges of every role on each object that both sides have.
func (t *structure) compareRights() []catalog.CompareAccount {
	type key struct{ role, object string }
	rights := map[key][2]*string{}
	add := func(side int, object string, e *schema.Entry) {
		for role, text := range t.rightsByRole(e) {
			v := rights[key{role, object}]
			v[side] = &text
			rights[key{role, object}] = v
		}
	}
	m := t.match()
	missing := m.missing()
	for i := range m.source {
		e := &m.source[i]
		if e.Desc != "ACL" && e.Desc != "DEFAULT ACL" || slices.ContainsFunc(e.Depends, func(id int) bool { return missing[id] }) {
			continue
		}
		object := nameOf(e)
		add(0, object, e)
		if m.of[i] >= 0 {
			add(1, object, &m.destination[m.of[i]])
		}
	}
	for _, d := range m.extraEntries() {
		if d.Desc == "ACL" || d.Desc == "DEFAULT ACL" {
			add(1, nameOf(d), d)
		}
	}
	var list []catalog.CompareAccount
	for k, v := range rights {
		list = append(list, account(k.role, "privileges on "+k.object, v))
	}
	return ordered(list)
}

// rightsByRole writes the rights of an entry, those of each role in one text; an asterisk is the right to grant it on, as in an ACL.
func (t *structure) rightsByRole(e *schema.Entry) map[string]string {
	rights, err := e.Rights(t.oldest)
	if err != nil {
		return map[string]string{"PUBLIC": e.Definition}
	}
	texts := map[string][]string{}
	for _, r := range rights {
		text := r.Privilege
		if r.Option {
			text += "*"
		}
		if r.Revoked {
			text = "no " + text
		}
		if r.Grantor != "" {
			text += " by " + schema.Name{Name: r.Grantor}.String()
		}
		role := cmp.Or(r.Role, "PUBLIC")
		texts[role] = append(texts[role], text)
	}
	byRole := map[string]string{}
	for role := range maps.Keys(texts) {
		byRole[role] = strings.Join(texts[role], ", ")
	}
	return byRole
}
