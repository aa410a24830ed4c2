package sqlapi

import (
	"maps"
	"slices"
	"time"

	"pgsyncd/catalog"

	"github.com/jackc/pglogrepl"
	"pgregory.net/rapid"
)

// Generators of statements, for the property that printing and parsing are inverse.

var (
	anyText  = rapid.OneOf(rapid.SampledFrom([]string{"x", "it's", `\`, "$$", "a\nb", "ü😀", "--", "/*", `"`}), rapid.StringN(1, 20, 60)).Filter(noZero)
	ident    = rapid.OneOf(rapid.SampledFrom([]string{"t", "select", "Upper", "we ird", `qu"ote`, "ü", "a.b", "$1", "1a", "if", "force", "where"}), rapid.StringN(1, 10, 63)).Filter(noZero)
	taskName = rapid.StringMatching(`[A-Za-z][A-Za-z0-9_-]{3,49}`)
	exprText = rapid.SampledFrom([]string{"a", "a = 1", "(a) or b", "x like ';' -- c\n and y", "f(a, 'b)')", `"q" is null`, "ü > E'\\''"})
	timeText = rapid.SampledFrom([]string{"2030-01-31 23:00", "2030-01-31T23:00:05.5+02", "tomorrow 03:00", "today", "now", "2030-01-31 Europe/Berlin"})
	cronText = rapid.SampledFrom([]string{"0 3 * * *", "@daily", "@every 6h", "*/5 1-3 * 1 MON"})
	zoneText = rapid.SampledFrom([]string{"UTC", "Europe/Berlin", "America/New_York"})
	secrets  = rapid.Map(anyText, func(s string) Secret { return Secret(s) })
	modes    = rapid.SampledFrom([]Mode{Full, Incremental, FullAndIncremental})
	roles    = rapid.SampledFrom([]Privilege{Admin, Operator, Monitor})
	sides    = rapid.SampledFrom([]Side{Source, Destination})
	lsns     = rapid.Map(rapid.Uint64Min(1), func(n uint64) pglogrepl.LSN { return pglogrepl.LSN(n) })
	runs     = rapid.Int64Min(1)
)

func noZero(s string) bool {
	for _, r := range s {
		if r == 0 || r == 0xFFFD {
			return false
		}
	}
	return s != ""
}

var tagOf = rapid.Custom(func(t *rapid.T) Tag {
	return Tag{
		Key:   rapid.StringMatching(`[a-zA-Zäß0-9_.:=+@-]{1,20}`).Filter(func(s string) bool { return checkTag(Tag{Key: s}) == nil }).Draw(t, "key"),
		Value: rapid.StringMatching(`([a-zA-Z0-9_.:=+@-]( [a-z])?){0,20}`).Draw(t, "value"),
	}
})

var nameOf = rapid.Custom(func(t *rapid.T) Name {
	n := Name{Name: ident.Draw(t, "name")}
	if rapid.Bool().Draw(t, "qualified") {
		n.Schema = ident.Draw(t, "schema")
	}
	return n
})

func objectOf(rule objectRule) *rapid.Generator[Object] {
	return rapid.Custom(func(t *rapid.T) Object {
		o := Object{Kind: rapid.SampledFrom(rule.kinds).Draw(t, "kind")}
		named := nameOf
		switch o.Kind {
		case TablesMatching:
			o.Pattern = rapid.SampledFrom([]string{"*", "shop.ord*", `"We ird".?`, "it's"}).Draw(t, "pattern")
			return o
		case Schema:
			named = rapid.Map(ident, func(s string) Name { return Name{Schema: s} })
		default:
		}
		o.Name = named.Draw(t, "name")
		if rule.mapped || rule.mapping && rapid.Bool().Draw(t, "as") {
			o.As = named.Draw(t, "target")
		}
		if o.Kind == Table && rule.filter {
			if rapid.Bool().Draw(t, "columns") {
				o.Columns = rapid.SliceOfNDistinct(columnOf, 1, 4, func(c Column) string { return c.Name }).Draw(t, "column list")
			}
			if rapid.Bool().Draw(t, "filtered") {
				o.Where.Text = exprText.Draw(t, "where")
			}
		}
		return o
	})
}

var columnOf = rapid.Custom(func(t *rapid.T) Column {
	c := Column{Name: ident.Draw(t, "column")}
	if rapid.Bool().Draw(t, "renamed") {
		c.As = ident.Draw(t, "as")
	}
	return c
})

func some[T any](t *rapid.T, g *rapid.Generator[T], label string) []T {
	return rapid.SliceOfN(g, 1, 3).Draw(t, label)
}

var scopeOf = rapid.Custom(func(t *rapid.T) Scope {
	if rapid.Bool().Draw(t, "objects") {
		return Scope{Objects: some(t, objectOf(fullObject), "objects")}
	}
	s := Scope{All: true}
	if rapid.Bool().Draw(t, "map") {
		s.Map = some(t, objectOf(mapItem), "map items")
	}
	if rapid.Bool().Draw(t, "except") {
		s.Except = some(t, objectOf(exceptItem), "patterns")
	}
	return s
})

var accountsOf = rapid.Custom(func(t *rapid.T) Accounts {
	switch rapid.IntRange(0, 2).Draw(t, "accounts") {
	case 0:
		return Accounts{}
	case 1:
		return Accounts{All: true}
	}
	return Accounts{Roles: rapid.SliceOfNDistinct(ident, 1, 3, rapid.ID[string]).Draw(t, "roles")}
})

var confirmOf = rapid.Custom(func(t *rapid.T) Confirm {
	switch rapid.IntRange(0, 2).Draw(t, "confirm") {
	case 0:
		return Confirm{}
	case 1:
		return Confirm{All: true}
	}
	return Confirm{Items: some(t, anyText, "items")}
})

var startOf = rapid.Custom(func(t *rapid.T) Start {
	s := Start{When: rapid.SampledFrom([]When{Manual, Now, At}).Draw(t, "when")}
	if s.When == At {
		s.At = timeText.Draw(t, "at")
	}
	return s
})

var flowOf = rapid.Custom(func(t *rapid.T) Flow {
	f := Flow{MBPerSecond: rapid.IntRange(0, maxFlow).Draw(t, "limit")}
	if f.MBPerSecond > 0 {
		f.Windows = rapid.SampledFrom([][]Window{nil, {{From: 480, To: 720}}, {{To: 1440}}, {{From: 1320, To: 360}, {From: 480, To: 481}, {From: 1200, To: 1260}}}).Draw(t, "windows")
	}
	return f
})

// optionsOf draws options with normalized values.
func optionsOf(known []catalog.Option, normalize func(name, text string) (string, error)) *rapid.Generator[map[string]string] {
	values := map[string][]string{}
	for _, o := range known {
		for _, text := range append([]string{"true", "false", "17", "10s", "3 days", "256 MB", "none", "by cores", "Europe/Berlin"}, o.Values...) {
			if normal, err := normalize(o.Name, text); err == nil {
				values[o.Name] = append(values[o.Name], normal)
			}
		}
	}
	names := slices.Sorted(maps.Keys(values))
	return rapid.Custom(func(t *rapid.T) map[string]string {
		options := map[string]string{}
		for _, name := range some(t, rapid.SampledFrom(names), "names") {
			options[name] = rapid.SampledFrom(values[name]).Draw(t, "value")
		}
		return options
	})
}

var (
	taskOptionsOf = optionsOf(catalog.TaskOptionList(), catalog.NormalizeTaskOption)
	// many_to_one and max_table_rows depend on the rest of the statement; the transcripts have them.
	compareOptionsOf = optionsOf(slices.DeleteFunc(catalog.CompareOptionList(), func(o catalog.Option) bool {
		return o.Name == "many_to_one" || o.Name == "max_table_rows"
	}), catalog.NormalizeCompareOption)
	limitOf = optionsOf(slices.DeleteFunc(catalog.CompareOptionList(), func(o catalog.Option) bool { return o.Name != "time_limit" }),
		catalog.NormalizeCompareOption)
)

var createOf = rapid.Custom(func(t *rapid.T) *CreateTask {
	c := &CreateTask{
		Name: taskName.Draw(t, "name"), IfNotExists: rapid.Bool().Draw(t, "if not exists"),
		Source: secrets.Draw(t, "source"), Destination: secrets.Draw(t, "destination"), Mode: modes.Draw(t, "mode"),
		Scope: scopeOf.Draw(t, "scope"), Accounts: accountsOf.Draw(t, "accounts"), Start: startOf.Draw(t, "start"), Flow: flowOf.Draw(t, "flow"),
	}
	c.Start.Confirm = confirmOf.Draw(t, "confirm")
	if rapid.Bool().Draw(t, "options") {
		c.Options = taskOptionsOf.Draw(t, "option list")
	}
	c.Comment = rapid.StringMatching(`[a-zä ,.()%-]{0,30}`).Draw(t, "comment")
	if rapid.Bool().Draw(t, "tags") {
		c.Tags = rapid.SliceOfNDistinct(tagOf, 1, 4, func(t Tag) string { return t.Key }).Draw(t, "tag list")
	}
	return c
})

var actionOf = rapid.Custom(func(t *rapid.T) AlterAction {
	return rapid.SampledFrom([]func() AlterAction{
		func() AlterAction { return Rename{taskName.Draw(t, "to")} },
		func() AlterAction { return SetComment{rapid.StringMatching(`[a-z ]{0,10}`).Draw(t, "comment")} },
		func() AlterAction { return SetTag{tagOf.Draw(t, "tag")} },
		func() AlterAction { return DropTag{tagOf.Draw(t, "tag").Key} },
		func() AlterAction { return SetOptions{taskOptionsOf.Draw(t, "options")} },
		func() AlterAction {
			return ResetOptions{slices.Sorted(maps.Keys(taskOptionsOf.Draw(t, "options")))}
		},
		func() AlterAction { return SetEndpoint{sides.Draw(t, "side"), secrets.Draw(t, "conninfo")} },
		func() AlterAction { return SetPassword{sides.Draw(t, "side"), secrets.Draw(t, "password")} },
		func() AlterAction { return SetStart{startOf.Draw(t, "start")} },
		func() AlterAction { return SetFlow{flowOf.Draw(t, "flow")} },
		func() AlterAction { return SetMode{modes.Draw(t, "mode")} },
		func() AlterAction { return SetScope{scopeOf.Draw(t, "scope")} },
		func() AlterAction { return SetAccounts{accountsOf.Draw(t, "accounts")} },
		func() AlterAction { return AddObjects{some(t, objectOf(fullObject), "objects")} },
		func() AlterAction { return DropObjects{some(t, objectOf(droppedObject), "objects")} },
		func() AlterAction { return SkipDDL{lsns.Draw(t, "lsn")} },
		func() AlterAction { return RetryDDL{} },
	}).Draw(t, "action")()
})

var targetsOf = rapid.Custom(func(t *rapid.T) Targets {
	if rapid.Bool().Draw(t, "tagged") {
		return Targets{Tag: new(tagOf.Draw(t, "tag"))}
	}
	return Targets{Names: some(t, ident, "names")}
})

var compareOf = rapid.Custom(func(t *rapid.T) *Compare {
	c := &Compare{
		Task: ident.Draw(t, "task"),
		Type: rapid.SampledFrom([]CompareType{CompareObjects, CompareRows, CompareValues, CompareAccounts}).Draw(t, "type"),
	}
	if (c.Type == CompareRows || c.Type == CompareValues) && rapid.Bool().Draw(t, "for") {
		c.Tables = some(t, nameOf, "tables")
	}
	switch rapid.IntRange(0, 2).Draw(t, "when") {
	case 1:
		c.At = timeText.Draw(t, "at")
	case 2:
		c.Cron = cronText.Draw(t, "cron")
		if rapid.Bool().Draw(t, "zone") {
			c.TimeZone = zoneText.Draw(t, "time zone")
		}
		if rapid.Bool().Draw(t, "named") {
			c.Schedule = ident.Draw(t, "schedule")
		}
	}
	switch {
	case !rapid.Bool().Draw(t, "options"):
	case c.Type == CompareRows || c.Type == CompareValues:
		c.Options = compareOptionsOf.Draw(t, "option list")
	default:
		c.Options = limitOf.Draw(t, "limit")
	}
	return c
})

var waitOf = rapid.Custom(func(t *rapid.T) *WaitTask {
	w := &WaitTask{Name: ident.Draw(t, "name"), Timeout: time.Duration(rapid.Int64Range(0, 1<<40).Draw(t, "timeout")) * time.Millisecond}
	switch rapid.IntRange(0, 2).Draw(t, "until") {
	case 0:
		w.CaughtUp = true
	case 1:
		w.State = string(rapid.SampledFrom(catalog.States).Draw(t, "state"))
	default:
		w.LSN = lsns.Draw(t, "lsn")
	}
	return w
})

var scheduleOf = rapid.Custom(func(t *rapid.T) *AlterSchedule {
	s := &AlterSchedule{Name: ident.Draw(t, "name")}
	switch rapid.IntRange(0, 2).Draw(t, "action") {
	case 0:
		s.Cron = cronText.Draw(t, "cron")
		if rapid.Bool().Draw(t, "zone") {
			s.TimeZone = zoneText.Draw(t, "time zone")
		}
	case 1:
		s.Enable = new(rapid.Bool().Draw(t, "enable"))
	default:
		s.RenameTo = ident.Draw(t, "to")
	}
	return s
})

// statementOf draws a statement of any form.
var statementOf = rapid.Custom(func(t *rapid.T) Statement {
	name := func() string { return ident.Draw(t, "name") }
	yes := func(label string) bool { return rapid.Bool().Draw(t, label) }
	targets := func() Targets { return targetsOf.Draw(t, "targets") }
	return rapid.SampledFrom([]func() Statement{
		func() Statement { return createOf.Draw(t, "create") },
		func() Statement { return &ExplainCreate{*createOf.Draw(t, "create")} },
		func() Statement { return &AlterTask{name(), yes("if exists"), actionOf.Draw(t, "action")} },
		func() Statement { return &TestTask{name()} },
		func() Statement {
			return &TestConnection{secrets.Draw(t, "conninfo"), rapid.OneOf(sides, rapid.Just(Side(""))).Draw(t, "side")}
		},
		func() Statement { return &PrecheckTask{name()} },
		func() Statement { return &ExplainTask{name()} },
		func() Statement {
			return &StartTasks{yes("if exists"), targets(), rapid.OneOf(timeText, rapid.Just("")).Draw(t, "at"), confirmOf.Draw(t, "confirm")}
		},
		func() Statement { return &PauseTasks{targets()} },
		func() Statement { return &ResumeTasks{targets()} },
		func() Statement { return &ResetTasks{targets(), yes("clear")} },
		func() Statement { return &StopTasks{targets(), yes("force")} },
		func() Statement { return &DropTasks{yes("if exists"), targets(), yes("force")} },
		func() Statement { return &CloneTask{name(), taskName.Draw(t, "as"), yes("passwords")} },
		func() Statement { return waitOf.Draw(t, "wait") },
		func() Statement { return compareOf.Draw(t, "compare") },
		func() Statement { return &CancelCompare{runs.Draw(t, "run")} },
		func() Statement { return &RepairCompare{runs.Draw(t, "run"), yes("dry run")} },
		func() Statement { return scheduleOf.Draw(t, "schedule") },
		func() Statement { return &DropSchedule{name(), yes("if exists")} },
		func() Statement { return &ShowReport{runs.Draw(t, "run")} },
		func() Statement { return &CreateUser{name(), secrets.Draw(t, "password"), roles.Draw(t, "role")} },
		func() Statement { return &AlterUser{Name: name(), Password: secrets.Draw(t, "password")} },
		func() Statement { return &AlterUser{Name: name(), Role: roles.Draw(t, "role")} },
		func() Statement { return &DropUser{name(), yes("if exists")} },
		func() Statement { return &ShowTasks{} },
		func() Statement { return &ShowTask{name()} },
		func() Statement { return &ShowCreate{name()} },
		func() Statement { return &ShowObjects{name()} },
		func() Statement { return &ShowHelp{rapid.OneOf(anyText, rapid.Just("")).Draw(t, "about")} },
		func() Statement { return &ShowDDLSetup{name()} },
	}).Draw(t, "form")()
})
