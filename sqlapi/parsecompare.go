package sqlapi

import (
	"maps"
	"math"
	"slices"
	"strings"

	"pgsyncd/catalog"
)

// compare reads COMPARE SYNC TASK after these words.
func (p *parser) compare() *Compare {
	c := &Compare{Task: p.taskName()}
	c.Type = CompareType(p.expectOneOf([]string{"OBJECTS", "ROWS", "VALUES", "ACCOUNTS"}, "OBJECTS, ROWS, VALUES or ACCOUNTS"))
	if t := p.peek(); p.accept("FOR") {
		p.list(func() {
			p.expect("TABLE")
			c.Tables = append(c.Tables, p.name(Table))
		})
		if c.Type != CompareRows && c.Type != CompareValues {
			p.fail(t, invalid("FOR cannot be combined with %s", c.Type).WithDetail("Only ROWS and VALUES are compared by table."))
		}
	}
	switch {
	case p.accept("AT"):
		c.At = p.timestamp()
	case p.accept("EVERY"):
		c.Cron, c.TimeZone = p.every()
		if p.accept("AS") {
			c.Schedule = p.identifier("a schedule's name")
		}
	}
	if t := p.peek(); p.accept("WITH") {
		c.Options = p.options(catalog.CompareOptionList(), catalog.NormalizeCompareOption, true)
		p.fail(t, checkCompareOptions(c))
	}
	return c
}

// checkCompareOptions says which option does not suit the comparison.
func checkCompareOptions(c *Compare) *Error {
	if c.Type == CompareObjects || c.Type == CompareAccounts {
		for _, name := range slices.Sorted(maps.Keys(c.Options)) {
			if name != "time_limit" {
				return invalid("option %q is for ROWS and VALUES only", name)
			}
		}
		return nil
	}
	for _, o := range []struct {
		name     string
		periodic bool
	}{{"many_to_one", false}, {"max_table_rows", true}} {
		switch _, given := c.Options[o.name]; {
		case !given:
		case c.Type != CompareRows:
			return invalid("option %q is for ROWS only", o.name)
		case o.periodic && c.Cron == "":
			return invalid("option %q is for periodic comparisons only", o.name).WithHint("Add EVERY 'cron expression'.")
		}
	}
	return nil
}

// every reads 'cron' [ TIME ZONE 'tz' ].
func (p *parser) every() (expression, zone string) {
	t := p.peek()
	expression = p.literal("a cron expression")
	if p.accept("TIME", "ZONE") {
		zone = p.checked("a time zone", func(text string) *Error {
			if err := catalog.CheckTimeZone(text); err != nil {
				return invalid("time zone %q not recognized", text).WithHint("SELECT name FROM pg_timezone_names;")
			}
			return nil
		})
	}
	if p.err == nil {
		if _, err := ParseSchedule(expression, zone); err != nil {
			p.fail(t, AsError(err))
		}
	}
	return strings.TrimSpace(expression), zone
}

// aboutCompare reads the other statements about comparisons.
func (p *parser) aboutCompare(form *Form) Statement {
	switch form {
	case formCancelCompare:
		return &CancelCompare{p.run()}
	case formRepair:
		return &RepairCompare{p.run(), p.accept("DRY", "RUN")}
	case formShowReport:
		return &ShowReport{p.run()}
	case formDropSchedule:
		return &DropSchedule{IfExists: p.accept("IF", "EXISTS"), Name: p.identifier("a schedule's name")}
	}
	s := &AlterSchedule{Name: p.identifier("a schedule's name")}
	switch {
	case p.accept("EVERY"):
		s.Cron, s.TimeZone = p.every()
	case p.accept("ENABLE"):
		s.Enable = new(true)
	case p.accept("DISABLE"):
		s.Enable = new(false)
	case p.accept("RENAME", "TO"):
		s.RenameTo = p.identifier("a schedule's name")
	default:
		p.unexpected("EVERY, ENABLE, DISABLE or RENAME TO")
	}
	return s
}

// run reads the number of a comparison run.
func (p *parser) run() int64 { return p.integer("a run_id", 1, math.MaxInt64) }

// user reads CREATE, ALTER and DROP SYNC USER after these words.
func (p *parser) user(form *Form) Statement {
	switch form {
	case formDropUser:
		return &DropUser{IfExists: p.accept("IF", "EXISTS"), Name: p.identifier("a user's name")}
	case formCreateUser:
		u := &CreateUser{Name: p.identifier("a user's name")}
		p.expect("PASSWORD")
		u.Password = p.secret("a password")
		p.expect("ROLE")
		u.Role = p.role()
		return u
	}
	u := &AlterUser{Name: p.identifier("a user's name")}
	switch {
	case p.accept("PASSWORD"):
		u.Password = p.secret("a password")
	case p.accept("ROLE"):
		u.Role = p.role()
	default:
		p.unexpected("PASSWORD or ROLE")
	}
	return u
}

func (p *parser) role() Privilege {
	return Privilege(strings.ToLower(p.expectOneOf([]string{"ADMIN", "OPERATOR", "MONITOR"}, "ADMIN, OPERATOR or MONITOR")))
}
