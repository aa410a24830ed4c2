package sqlapi

import (
	"time"

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
	clauses := []clause{
		{"MODE", modeSynopsis, func() { c.Mode = p.mode() }},
		{"FOR", scopeSynopsis, func() { c.Scope = p.scope() }},
		{"ACCOUNTS", accountsSynopsis, func() { c.Accounts = p.accounts() }},
		{"START", startSynopsis + " " + confirmSynopsis, func() { c.Start, c.Start.Confirm = p.start(), p.confirm() }},
		{"FLOW", flowSynopsis, func() { c.Flow = p.flow() }},
		{"WITH", "WITH " + optionsSynopsis, func() { c.Options = p.options(catalog.TaskOptionList(), catalog.NormalizeTaskOption, true) }},
		{"COMMENT", "COMMENT 'text'", func() { c.Comment = p.checked("a comment", checkComment) }},
		{"TAGS", tagsSynopsis, func() { c.Tags = p.tags() }},
	}
	given := map[string]bool{}
	for p.clauseOf(clauses, given) {
	}
	return c
}

// clause is one of several that come in any order.
type clause struct {
	word, synopsis string
	read           func()
}

// clauseOf reads the next of the clauses and tells whether there was one. Each may be given once.
func (p *parser) clauseOf(clauses []clause, given map[string]bool) bool {
	for _, c := range clauses {
		t := p.peek()
		if !p.accept(c.word) {
			continue
		}
		if given[c.word] {
			p.fail(t, Errorf(CodeSyntax, "clause %s is given twice", c.word))
		}
		given[c.word] = true
		p.within(c.synopsis, c.read)
		return true
	}
	return false
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
		return SetOptions{p.options(catalog.TaskOptionList(), catalog.NormalizeTaskOption, false)}
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
