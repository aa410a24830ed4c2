package compare

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
)

// statement is one that changes a row: as it is executed, with parameters, and as it is shown.
type statement struct {
	rank  int // deletes are 0, updates 1, inserts 2
	sql   strings.Builder
	args  [][]byte
	shown strings.Builder
}

func (s *statement) add(text string) {
	s.sql.WriteString(text)
	s.shown.WriteString(text)
}

// value adds a value, with the text of a cast.
func (s *statement) value(v *string, cast string) {
	var arg []byte
	if v != nil {
		arg = []byte(*v)
	}
	s.args = append(s.args, arg)
	s.sql.WriteString("$" + strconv.Itoa(len(s.args)) + cast)
	s.shown.WriteString(literal(v) + cast)
}

// shownValue is how many bytes of a value a statement shows.
const shownValue = 1 << 14

// literal is a value as an SQL literal. What is very long is shortened, so that the statement is not executable any more.
func literal(v *string) string {
	if v == nil {
		return "NULL"
	}
	text, note := *v, ""
	if len(text) > shownValue {
		note = fmt.Sprintf(" /* the first %d of %d bytes */", shownValue, len(text))
		text = strings.ToValidUTF8(text[:shownValue], "")
	}
	return schema.Literal(text) + note
}

func printed(plan []*statement) string {
	texts := make([]string, len(plan))
	for i, s := range plan {
		texts[i] = s.shown.String()
	}
	return strings.Join(texts, "; ")
}

// plan is what makes the destination's row that of the source.
func (u *unit) plan(st *step, how manner) []*statement {
	switch {
	case st.over == nil:
		return []*statement{u.insert(st.from.row)}
	case st.from == nil:
		return []*statement{u.delete(st.over)}
	}
	set := u.differing(st)
	if how == inPlace && !slices.ContainsFunc(set, func(name string) bool { return u.target.column(name).always }) {
		return []*statement{u.update(st, set)}
	}
	row := maps.Clone(st.over.row) // with the columns that the source has not
	maps.Copy(row, st.from.row)
	return []*statement{u.delete(st.over), u.insert(row)}
}

// differing are the columns to be updated: those whose texts differ, and if that does not show, all that can be.
func (u *unit) differing(st *step) (names []string) {
	for _, all := range []bool{false, true} {
		for _, c := range u.target.columns {
			v, has := st.from.row[c.name]
			if has && !c.generated && (all && !c.always || !sameText(v, st.over.row[c.name])) {
				names = append(names, c.name)
			}
		}
		if names != nil {
			return names
		}
	}
	return nil
}

func (u *unit) insert(row map[string]*string) *statement {
	s := &statement{rank: 2}
	var names []string
	always := false
	for _, c := range u.target.columns {
		if _, has := row[c.name]; has && !c.generated {
			names, always = append(names, c.name), always || c.always
		}
	}
	s.add("INSERT INTO " + u.pair.target.String())
	if names == nil {
		s.add(" DEFAULT VALUES")
		return s
	}
	s.add(" (" + quoted(names) + ")")
	if always {
		s.add(" OVERRIDING SYSTEM VALUE")
	}
	s.add(" VALUES (")
	for i, name := range names {
		if i > 0 {
			s.add(", ")
		}
		s.value(row[name], "")
	}
	s.add(")")
	return s
}

func (u *unit) update(st *step, names []string) *statement {
	s := &statement{rank: 1}
	s.add("UPDATE " + u.target.from(u.pair.target) + " SET ")
	for i, name := range names {
		if i > 0 {
			s.add(", ")
		}
		s.add(pgx.Identifier{name}.Sanitize() + " = ")
		s.value(st.from.row[name], "")
	}
	u.where(s, st.over)
	return s
}

func (u *unit) delete(v *version) *statement {
	s := &statement{}
	s.add("DELETE FROM " + u.target.from(u.pair.target))
	u.where(s, v)
	return s
}

// where addresses one version of a row, so that the statement does nothing if it is executed at another time. The key is there
// to be read, as far as its columns have operators that are always found.
func (u *unit) where(s *statement, v *version) {
	s.add(" WHERE ctid = ")
	s.value(&v.tid, "")
	if u.target.partitions {
		s.add(" AND tableoid = ")
		s.value(&v.part, "::pg_catalog.regclass")
	}
	for _, c := range u.key {
		if u.target.column(c.target).plain && v.row[c.target] != nil {
			s.add(" AND " + pgx.Identifier{c.target}.Sanitize() + " = ")
			s.value(v.row[c.target], "")
		}
	}
}
