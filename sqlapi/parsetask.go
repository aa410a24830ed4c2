package sqlapi

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"pgsyncd/catalog"
)

// createTask reads CREATE SYNC TASK after these words.
func (p *parser) createTask() *CreateTask {
	c := &CreateTask{Mode: FullAndIncremental, Scope: Scope{All: true}, Start: Start{When: Manual}}
	c.IfNotExists = p.accept("IF", "NOT", "EXISTS")
	c.Name = p.newTaskName()
	p.expect("FROM")
	c.Source = p.secret("a connection string")
	p.expect("TO")
	c.Destination = p.secret("a connection string")
	for _, clause := range []struct {
		word, synopsis string
		read           func()
	}{
		{"MODE", modeSynopsis, func() { c.Mode = p.mode() }},
		{"FOR", scopeSynopsis, func() { c.Scope = p.scope() }},
		{"ACCOUNTS", accountsSynopsis, func() { c.Accounts = p.accounts() }},
		{"START", startSynopsis + " " + confirmSynopsis, func() { c.Start, c.Start.Confirm = p.start(), p.confirm() }},
		{"FLOW", flowSynopsis, func() { c.Flow = p.flow() }},
		{"WITH", "WITH " + optionsSynopsis, func() { c.Options = p.options(catalog.NormalizeTaskOption, true) }},
		{"COMMENT", "COMMENT 'text'", func() { c.Comment = p.checked("a comment", checkComment) }},
		{"TAGS", tagsSynopsis, func() { c.Tags = p.tags() }},
	} {
		if p.accept(clause.word) {
			p.within(clause.synopsis, clause.read)
		}
	}
	return c
}

// within reads a clause, whose synopsis is the hint meanwhile.
func (p *parser) within(synopsis string, read func()) {
	outer := p.clause
	p.clause = synopsis
	read()
	p.clause = outer
}

// alterTask reads ALTER SYNC TASK after these words.
func (p *parser) alterTask() *AlterTask {
	a := &AlterTask{IfExists: p.accept("IF", "EXISTS"), Name: p.taskName()}
	switch {
	case p.accept("RENAME"):
		p.expect("TO")
		a.Action = Rename{p.newTaskName()}
	case p.accept("COMMENT"):
		a.Action = SetComment{p.checked("a comment", checkComment)}
	case p.accept("DROP", "TAG"):
		a.Action = DropTag{p.key("a tag's key")}
	case p.accept("ADD"):
		p.clause = "ADD ( object [, ...] )"
		a.Action = AddObjects{p.objects(fullObject)}
	case p.accept("DROP"):
		p.clause = droppedSynopsis
		a.Action = DropObjects{p.objects(droppedObject)}
	case p.accept("SKIP", "DDL"):
		t := p.peek()
		lsn, err := parseLSN(p.literal("a position"))
		p.fail(t, err)
		a.Action = SkipDDL{lsn}
	case p.accept("RETRY", "DDL"):
		a.Action = RetryDDL{}
	case p.accept("RESET"):
		a.Action = ResetOptions{p.optionNames()}
	case p.accept("SET"):
		a.Action = p.setAction()
	default:
		p.unexpected("RENAME, COMMENT, SET, RESET, ADD, DROP, SKIP DDL or RETRY DDL")
	}
	return a
}

// setAction reads what follows ALTER SYNC TASK name SET.
func (p *parser) setAction() AlterAction {
	switch {
	case p.accept("TAG"):
		return SetTag{p.tag()}
	case p.accept("SOURCE"):
		return p.setEndpoint(Source)
	case p.accept("DESTINATION"):
		return p.setEndpoint(Destination)
	case p.accept("START"):
		p.clause = "SET " + startSynopsis
		return SetStart{p.start()}
	case p.accept("FLOW"):
		p.clause = "SET " + flowSynopsis
		return SetFlow{p.flow()}
	case p.accept("MODE"):
		p.clause = "SET " + modeSynopsis
		return SetMode{p.mode()}
	case p.accept("FOR"):
		p.clause = "SET " + scopeSynopsis
		return SetScope{p.scope()}
	case p.accept("ACCOUNTS"):
		p.clause = "SET " + accountsSynopsis
		return SetAccounts{p.accounts()}
	case p.punct(p.peek()) == '(':
		p.clause = "SET ( option = value [, ...] )"
		return SetOptions{p.options(catalog.NormalizeTaskOption, false)}
	}
	p.unexpected(`TAG, SOURCE, DESTINATION, START, FLOW, MODE, FOR, ACCOUNTS or "("`)
	return nil
}

func (p *parser) setEndpoint(side Side) AlterAction {
	if p.accept("PASSWORD") {
		return SetPassword{side, p.secret("a password")}
	}
	return SetEndpoint{side, p.secret("a connection string")}
}

// command reads START, PAUSE, RESUME, RESET, STOP and DROP SYNC TASK after these words.
func (p *parser) command(form *Form) Statement {
	switch form {
	case formStart:
		s := &StartTasks{IfExists: p.accept("IF", "EXISTS"), Targets: p.targets()}
		if p.accept("AT") {
			s.At = p.timestamp()
		}
		s.Confirm = p.confirm()
		return s
	case formPause:
		return &PauseTasks{p.targets()}
	case formResume:
		return &ResumeTasks{p.targets()}
	case formReset:
		return &ResetTasks{p.targets(), p.flag("clear_destination")}
	case formStop:
		return &StopTasks{p.targets(), p.accept("FORCE")}
	default:
		return &DropTasks{p.accept("IF", "EXISTS"), p.targets(), p.accept("FORCE")}
	}
}

// aboutTask reads the statements that take little more than a task's name.
func (p *parser) aboutTask(form *Form) Statement {
	switch form {
	case formTestTask:
		return &TestTask{p.taskName()}
	case formTestConnection:
		s := &TestConnection{Conninfo: p.secret("a connection string")}
		if p.accept("AS") {
			s.Side = p.side()
		}
		return s
	case formPrecheck:
		return &PrecheckTask{p.taskName()}
	case formExplainTask:
		return &ExplainTask{p.taskName()}
	case formClone:
		s := &CloneTask{Name: p.taskName()}
		p.expect("AS")
		s.As = p.newTaskName()
		s.CopyPasswords = p.flag("copy_passwords")
		return s
	case formShowTask:
		return &ShowTask{p.taskName()}
	case formShowCreate:
		return &ShowCreate{p.taskName()}
	case formShowObjects:
		return &ShowObjects{p.taskName()}
	case formShowDDLSetup:
		return &ShowDDLSetup{p.taskName()}
	case formShowHelp:
		s := &ShowHelp{}
		if k := p.peek().kind; k != kindEOF && p.punct(p.peek()) != ';' {
			s.About = p.literal("the name of a statement")
		}
		return s
	default:
		return &ShowTasks{}
	}
}

// waitTask reads WAIT FOR SYNC TASK after these words.
func (p *parser) waitTask() *WaitTask {
	w := &WaitTask{Name: p.taskName()}
	switch {
	case p.accept("TO", "REACH"):
		w.State = p.checked("a task state", checkState)
	case p.accept("CAUGHT", "UP"):
		w.CaughtUp = true
	case p.accept("LSN"):
		t := p.peek()
		lsn, err := parseLSN(p.literal("a position"))
		if err == nil && lsn == 0 {
			err = invalid("position 0/0 is not a position in the WAL")
		}
		p.fail(t, err)
		w.LSN = lsn
	default:
		p.unexpected("TO REACH, CAUGHT UP or LSN")
	}
	if p.accept("TIMEOUT") {
		w.Timeout = p.interval()
	}
	return w
}

// interval reads a positive interval.
func (p *parser) interval() time.Duration {
	t := p.peek()
	text := p.literal("an interval")
	d, err := catalog.ParseDuration(text)
	if p.err == nil && (err != nil || d <= 0) {
		p.fail(t, invalid("invalid interval %q", text).WithDetail("It is written as 30s, 5 min, 1 day 12 hours or 01:30:00, and is not zero."))
	}
	return d
}

// Clauses.

func (p *parser) taskName() string { return p.identifier("a task's name") }

func (p *parser) newTaskName() string {
	t := p.peek()
	name := p.taskName()
	if p.err == nil {
		p.fail(t, checkTaskName(name))
	}
	return name
}

func (p *parser) targets() Targets {
	if p.accept("WHERE") {
		p.expect("TAG")
		t := p.tag()
		return Targets{Tag: &t}
	}
	var names []string
	p.commas(func() { names = append(names, p.taskName()) })
	return Targets{Names: names}
}

func (p *parser) secret(what string) Secret {
	t := p.peek()
	s := p.literal(what)
	if p.err == nil && s == "" {
		p.fail(t, invalid("%s must not be empty", what))
	}
	return Secret(s)
}

func (p *parser) side() Side {
	if p.accept("SOURCE") {
		return Source
	}
	p.expectOneOf([]string{"DESTINATION"}, "SOURCE or DESTINATION")
	return Destination
}

// expectOneOf takes one of the words and returns it.
func (p *parser) expectOneOf(words []string, expected string) string {
	for _, w := range words {
		if p.accept(w) {
			return w
		}
	}
	p.unexpected(expected)
	return ""
}

func (p *parser) mode() Mode {
	switch {
	case p.accept("FULL"):
		if !p.accept("AND") {
			return Full
		}
		p.expect("INCREMENTAL")
		return FullAndIncremental
	case p.accept("INCREMENTAL"):
		return Incremental
	}
	p.unexpected("FULL, INCREMENTAL or FULL AND INCREMENTAL")
	return ""
}

func (p *parser) accounts() Accounts {
	switch {
	case p.accept("NONE"):
		return Accounts{}
	case p.accept("ALL"):
		return Accounts{All: true}
	case p.punct(p.peek()) != '(':
		p.unexpected(`NONE, ALL or "("`)
	}
	var a Accounts
	p.list(func() { a.Roles = append(a.Roles, p.identifier("a role")) })
	return a
}

func (p *parser) start() Start {
	switch p.expectOneOf([]string{"MANUAL", "NOW", "AT"}, "MANUAL, NOW or AT") {
	case "NOW":
		return Start{When: Now}
	case "AT":
		return Start{When: At, At: p.timestamp()}
	}
	return Start{When: Manual}
}

// timestamp reads the text of a point in time, whose validity does not depend on the task's time zone.
func (p *parser) timestamp() string {
	return p.checked("a point in time", func(text string) *Error {
		if _, err := ParseTimestamp(text, time.UTC, time.Now()); err != nil {
			return AsError(err)
		}
		return nil
	})
}

func (p *parser) confirm() Confirm {
	var c Confirm
	switch {
	case !p.accept("CONFIRM"):
	case p.accept("ALL"):
		c.All = true
	case p.punct(p.peek()) == '(':
		p.list(func() { c.Items = append(c.Items, p.literal("a precheck item")) })
	default:
		p.unexpected(`ALL or "("`)
	}
	return c
}

func (p *parser) flow() Flow {
	if p.accept("UNLIMITED") {
		return Flow{}
	}
	if !p.accept("LIMIT") {
		p.unexpected("LIMIT or UNLIMITED")
		return Flow{}
	}
	f := Flow{MBPerSecond: int(p.integer("the limit in MB", 1, maxFlow))}
	p.expect("MB", "PER", "SECOND")
	if t := p.peek(); p.accept("BETWEEN") {
		p.commas(func() {
			from := p.clock()
			p.expect("AND")
			f.Windows = append(f.Windows, Window{from, p.clock()})
		})
		if p.err == nil {
			p.fail(t, checkWindows(f.Windows))
		}
	}
	return f
}

func (p *parser) clock() int {
	t := p.peek()
	text := p.literal("a time of day")
	if p.err != nil {
		return 0
	}
	at, err := parseClock(text)
	p.fail(t, err)
	return at
}

// integer reads an unsigned integer within bounds.
func (p *parser) integer(what string, lowest, highest int64) int64 {
	t := p.peek()
	if t.kind != kindNumber {
		p.unexpected(what)
		return 0
	}
	p.i++
	n, err := strconv.ParseInt(p.src[t.start:t.end], 10, 64)
	if err != nil || n < lowest || n > highest {
		p.fail(t, invalid("%s must be an integer between %d and %d", what, lowest, highest))
	}
	return n
}

func (p *parser) tag() Tag {
	t := p.peek()
	tag := Tag{Key: p.key("a tag's key")}
	p.expectOp('=')
	tag.Value = p.literal("a tag's value")
	if p.err == nil {
		p.fail(t, checkTag(tag))
	}
	return tag
}

func (p *parser) tags() []Tag {
	var tags []Tag
	p.list(func() {
		t := p.peek()
		tag := p.tag()
		if slices.ContainsFunc(tags, func(x Tag) bool { return x.Key == tag.Key }) {
			p.fail(t, invalid("tag %q is given twice", tag.Key))
		}
		if tags = append(tags, tag); len(tags) > maxTags {
			p.fail(t, invalid("more than %d tags", maxTags))
		}
	})
	return tags
}

// options reads ( option [ = value ], … ) and returns normalized texts. bare allows an option without a value, which means true.
func (p *parser) options(normalize func(name, text string) (string, error), bare bool) map[string]string {
	options := map[string]string{}
	p.list(func() {
		t := p.peek()
		name := p.label("an option")
		text := "true"
		if !bare || p.punct(p.peek()) == '=' {
			p.expectOp('=')
			text = p.value()
		}
		if p.err != nil {
			return
		}
		if _, twice := options[name]; twice {
			p.fail(t, Errorf(CodeSyntax, "option %q is given twice", name))
		}
		normal, err := normalize(name, text)
		if err != nil {
			p.fail(t, optionError(err))
		}
		options[name] = normal
	})
	return options
}

// value reads an option's value as text: a string, a number with or without sign, or a word.
func (p *parser) value() string {
	switch t := p.peek(); {
	case t.kind == kindWord:
		p.i++
		return fold(p.src[t.start:t.end])
	case t.kind == kindNumber:
		p.i++
		return p.src[t.start:t.end]
	case p.op('-'):
		return "-" + p.value()
	}
	return p.literal("a value")
}

// optionNames reads ( option, … ).
func (p *parser) optionNames() []string {
	known := catalog.TaskOptionList()
	names := make([]string, len(known))
	for i := range known {
		names[i] = known[i].Name
	}
	var given []string
	p.list(func() {
		t := p.peek()
		name := p.label("an option")
		if p.err == nil && !slices.Contains(names, name) {
			p.fail(t, optionError(&catalog.OptionError{Name: name, Message: "does not exist", Nearest: catalog.Nearest(name, names)}))
		}
		given = append(given, name)
	})
	return given
}

// flag reads [ WITH ( name [ = boolean ] ) ].
func (p *parser) flag(name string) bool {
	if !p.accept("WITH") {
		return false
	}
	set := p.options(func(option, text string) (string, error) {
		if option != name {
			return "", &catalog.OptionError{Name: option, Message: "does not exist here", Nearest: name}
		}
		return catalog.NormalizeBool(option, text)
	}, true)
	return set[name] == "true"
}

// Objects.

// objectRule says what an object may look like in its place.
type objectRule struct {
	kinds    []ObjectKind
	synopsis string
	mapping  bool // AS …, required in a MAP
	mapped   bool
	filter   bool // columns and WHERE
}

var (
	fullObject = objectRule{
		kinds: []ObjectKind{Schema, TablesMatching, Table, View, MaterializedView, Sequence}, synopsis: objectSynopsis, mapping: true, filter: true,
	}
	mapItem       = objectRule{kinds: []ObjectKind{Schema, Table}, synopsis: mapSynopsis, mapping: true, mapped: true}
	exceptItem    = objectRule{kinds: []ObjectKind{Schema, TablesMatching, Table}, synopsis: patternSynopsis}
	droppedObject = objectRule{kinds: []ObjectKind{Schema, Table, View, MaterializedView, Sequence}, synopsis: droppedSynopsis}
)

// scope reads what follows FOR.
func (p *parser) scope() Scope {
	if !p.accept("ALL") {
		if p.punct(p.peek()) != '(' {
			p.unexpected(`ALL or "("`)
		}
		return Scope{Objects: p.objects(fullObject)}
	}
	s := Scope{All: true}
	if p.accept("MAP") {
		s.Map = p.objects(mapItem)
	}
	if p.accept("EXCEPT") {
		s.Except = p.objects(exceptItem)
	}
	return s
}

func (p *parser) objects(rule objectRule) []Object {
	var objects []Object
	p.list(func() {
		p.within(rule.synopsis, func() { objects = append(objects, p.object(rule)) })
	})
	return objects
}

func (p *parser) object(rule objectRule) Object {
	var o Object
	for _, kind := range rule.kinds {
		if p.accept(strings.Fields(string(kind))...) {
			o.Kind = kind
			break
		}
	}
	switch o.Kind {
	case "":
		p.unexpected("one of " + joinKinds(rule.kinds))
		return o
	case TablesMatching:
		o.Pattern = p.checked("a pattern", checkPattern)
		return o
	}
	o.Name = p.name(o.Kind)
	t := p.peek()
	switch {
	case rule.mapping && p.accept("AS"):
		target := p.peek()
		o.As = p.name(o.Kind)
		if schema := o.As.Schema; len(schema) >= 3 && schema[:3] == "pg_" {
			p.fail(target, invalid("destination schema %q starts with \"pg_\"", schema).WithDetail("PostgreSQL reserves such names."))
		}
	case rule.mapped:
		p.unexpected("AS")
	}
	if o.Kind != Table || !rule.filter {
		return o
	}
	if t = p.peek(); p.punct(t) == '(' {
		o.Columns = p.columns()
	}
	if p.accept("WHERE") {
		o.Where = p.expression()
	}
	return o
}

func joinKinds(kinds []ObjectKind) string {
	texts := make([]string, len(kinds))
	for i, k := range kinds {
		texts[i] = string(k)
	}
	return strings.Join(texts, ", ")
}

// name reads [s.]n, or s for a schema.
func (p *parser) name(kind ObjectKind) Name {
	first := p.identifier("a name")
	if kind == Schema {
		return Name{Schema: first}
	}
	if p.op('.') {
		return Name{Schema: first, Name: p.label("a name")}
	}
	return Name{Name: first}
}

func (p *parser) columns() []Column {
	var columns []Column
	p.list(func() {
		t := p.peek()
		c := Column{Name: p.identifier("a column")}
		if p.accept("AS") {
			c.As = p.label("a column")
		}
		if slices.ContainsFunc(columns, func(x Column) bool { return x.Name == c.Name }) {
			p.fail(t, Errorf("42701", "column %q is given twice", c.Name))
		}
		columns = append(columns, c)
	})
	return columns
}

// expression reads a parenthesized expression as text. It cannot end the statement it is put into later: parentheses and quotations
// are balanced, semicolons are refused, and no comment is at its end.
func (p *parser) expression() Expr {
	p.expectOp('(')
	first := p.i
	for depth := 1; p.err == nil; p.i++ {
		t := p.peek()
		switch op := p.punct(t); {
		case t.kind == kindEOF:
			p.unexpected(`")"`)
		case t.kind == kindParam || op == ';':
			p.unexpected("an expression without parameters and semicolons")
		case op == '(':
			depth++
		case op == ')':
			depth--
		}
		if depth == 0 || p.err != nil {
			break
		}
	}
	if p.err == nil && p.i == first {
		p.unexpected("a boolean expression")
	}
	if p.err != nil {
		return Expr{}
	}
	start, end := p.tokens[first].start, p.tokens[p.i-1].end
	e := Expr{Text: p.src[start:end], Position: utf8.RuneCountInString(p.src[:start]) + 1}
	if n := utf8.RuneCountInString(e.Text); n > maxExpression {
		p.fail(p.tokens[first], invalid("expression is too long").WithDetail("It has %d characters; %d are possible.", n, maxExpression))
	}
	p.i++
	return e
}
