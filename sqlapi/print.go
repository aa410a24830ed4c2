package sqlapi

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"pgsyncd/catalog"
)

// PrintOptions control [Print].
type PrintOptions struct {
	Redact bool // stars in place of connection strings, passwords and certificates
}

const stars = "********"

// Print writes a statement in canonical form. [Parse] reads it back to an equal statement, positions of expressions apart. A clause
// that says what would hold without it is left out, except MODE and FOR.
func Print(s Statement, o PrintOptions) string {
	w := &printer{PrintOptions: o}
	w.statement(s)
	return w.String()
}

type printer struct {
	strings.Builder
	PrintOptions
}

// add writes words with single spaces between; empty ones are left out.
func (w *printer) add(words ...string) {
	for _, word := range words {
		if word == "" {
			continue
		}
		if w.Len() > 0 && !strings.HasSuffix(w.String(), " ") {
			w.WriteByte(' ')
		}
		w.WriteString(word)
	}
}

// line begins a new line of a long statement with the given words.
func (w *printer) line(words ...string) {
	w.WriteString("\n    ")
	w.WriteString(strings.Join(slices.DeleteFunc(words, func(s string) bool { return s == "" }), " "))
}

func when(condition bool, words string) string {
	if condition {
		return words
	}
	return ""
}

func (w *printer) secret(s Secret) string {
	if w.Redact {
		return quoteLiteral(stars)
	}
	return quoteLiteral(s.Reveal())
}

// statement writes the tag, then what follows it.
func (w *printer) statement(s Statement) {
	w.add(s.form().Tag)
	switch s := s.(type) {
	case *CreateTask:
		w.createTask(s)
	case *ExplainCreate:
		w.createTask(&s.Create)
	case *AlterTask:
		w.add(when(s.IfExists, "IF EXISTS"), quoteIdentifier(s.Name))
		w.action(s.Action)
	case *TestTask:
		w.add(quoteIdentifier(s.Name))
	case *TestConnection:
		w.add(w.secret(s.Conninfo))
		if s.Side != "" {
			w.add("AS", upper(string(s.Side)))
		}
	case *PrecheckTask:
		w.add(quoteIdentifier(s.Name))
	case *ExplainTask:
		w.add(quoteIdentifier(s.Name))
	case *StartTasks:
		w.add(when(s.IfExists, "IF EXISTS"), targets(s.Targets))
		if s.At != "" {
			w.add("AT", quoteLiteral(s.At))
		}
		w.add(confirm(s.Confirm))
	case *PauseTasks:
		w.add(targets(s.Targets))
	case *ResumeTasks:
		w.add(targets(s.Targets))
	case *ResetTasks:
		w.add(targets(s.Targets), when(s.ClearDestination, "WITH (clear_destination)"))
	case *StopTasks:
		w.add(targets(s.Targets), when(s.Force, "FORCE"))
	case *DropTasks:
		w.add(when(s.IfExists, "IF EXISTS"), targets(s.Targets), when(s.Force, "FORCE"))
	case *CloneTask:
		w.add(quoteIdentifier(s.Name), "AS", quoteIdentifier(s.As), when(s.CopyPasswords, "WITH (copy_passwords)"))
	case *WaitTask:
		w.waitTask(s)
	case *Compare:
		w.compare(s)
	case *CancelCompare:
		w.add(fmt.Sprint(s.Run))
	case *RepairCompare:
		w.add(fmt.Sprint(s.Run), when(s.DryRun, "DRY RUN"))
	case *AlterSchedule:
		w.alterSchedule(s)
	case *DropSchedule:
		w.add(when(s.IfExists, "IF EXISTS"), quoteIdentifier(s.Name))
	case *ShowReport:
		w.add(fmt.Sprint(s.Run))
	case *CreateUser:
		w.add(quoteIdentifier(s.Name), "PASSWORD", w.secret(s.Password), "ROLE", upper(string(s.Role)))
	case *AlterUser:
		w.add(quoteIdentifier(s.Name))
		if s.Role != "" {
			w.add("ROLE", upper(string(s.Role)))
		} else {
			w.add("PASSWORD", w.secret(s.Password))
		}
	case *DropUser:
		w.add(when(s.IfExists, "IF EXISTS"), quoteIdentifier(s.Name))
	case *ShowTask:
		w.add(quoteIdentifier(s.Name))
	case *ShowCreate:
		w.add(quoteIdentifier(s.Name))
	case *ShowObjects:
		w.add(quoteIdentifier(s.Name))
	case *ShowDDLSetup:
		w.add(quoteIdentifier(s.Name))
	case *ShowHelp:
		if s.About != "" {
			w.add(quoteLiteral(s.About))
		}
	case *ShowTasks:
	default:
		panic(fmt.Sprintf("print of %T", s))
	}
}

func (w *printer) createTask(c *CreateTask) {
	w.add(when(c.IfNotExists, "IF NOT EXISTS"), quoteIdentifier(c.Name))
	w.line("FROM", w.secret(c.Source))
	w.line("TO", w.secret(c.Destination))
	w.line("MODE", upper(string(c.Mode)))
	w.line("FOR", scope(c.Scope))
	if c.Accounts.All || c.Accounts.Roles != nil {
		w.line("ACCOUNTS", accounts(c.Accounts))
	}
	if c.Start.When != Manual || c.Start.Confirm.All || c.Start.Confirm.Items != nil {
		w.line("START", start(c.Start), confirm(c.Start.Confirm))
	}
	if c.Flow.MBPerSecond > 0 {
		w.line("FLOW", flow(c.Flow))
	}
	if len(c.Options) > 0 {
		w.line("WITH", w.options(c.Options, catalog.TaskOptionList()))
	}
	if c.Comment != "" {
		w.line("COMMENT", quoteLiteral(c.Comment))
	}
	if len(c.Tags) > 0 {
		w.line("TAGS", group(c.Tags, tag))
	}
}

func (w *printer) action(a AlterAction) {
	switch a := a.(type) {
	case Rename:
		w.add("RENAME TO", quoteIdentifier(a.To))
	case SetComment:
		w.add("COMMENT", quoteLiteral(a.Text))
	case SetTag:
		w.add("SET TAG", tag(a.Tag))
	case DropTag:
		w.add("DROP TAG", quoteIdentifier(a.Key))
	case SetOptions:
		w.add("SET", w.options(a.Options, catalog.TaskOptionList()))
	case ResetOptions:
		w.add("RESET", group(a.Names, quoteIdentifier))
	case SetEndpoint:
		w.add("SET", upper(string(a.Side)), w.secret(a.Conninfo))
	case SetPassword:
		w.add("SET", upper(string(a.Side)), "PASSWORD", w.secret(a.Password))
	case SetStart:
		w.add("SET START", start(a.Start))
	case SetFlow:
		w.add("SET FLOW", flow(a.Flow))
	case SetMode:
		w.add("SET MODE", upper(string(a.Mode)))
	case SetScope:
		w.add("SET FOR", scope(a.Scope))
	case SetAccounts:
		w.add("SET ACCOUNTS", accounts(a.Accounts))
	case AddObjects:
		w.add("ADD", objects(a.Objects))
	case DropObjects:
		w.add("DROP", objects(a.Objects))
	case SkipDDL:
		w.add("SKIP DDL", quoteLiteral(a.LSN.String()))
	case RetryDDL:
		w.add("RETRY DDL")
	default:
		panic(fmt.Sprintf("print of %T", a))
	}
}

func (w *printer) waitTask(s *WaitTask) {
	w.add(quoteIdentifier(s.Name))
	switch {
	case s.CaughtUp:
		w.add("CAUGHT UP")
	case s.State != "":
		w.add("TO REACH", quoteLiteral(s.State))
	default:
		w.add("LSN", quoteLiteral(s.LSN.String()))
	}
	if s.Timeout > 0 {
		w.add("TIMEOUT", quoteLiteral(catalog.FormatDuration(s.Timeout.Truncate(time.Millisecond))))
	}
}

func (w *printer) compare(c *Compare) {
	w.add(quoteIdentifier(c.Task), string(c.Type))
	if c.Tables != nil {
		w.add("FOR", group(c.Tables, func(n Name) string { return "TABLE " + name(n) }))
	}
	if c.At != "" {
		w.add("AT", quoteLiteral(c.At))
	}
	if c.Cron != "" {
		w.every(c.Cron, c.TimeZone)
	}
	if c.Schedule != "" {
		w.add("AS", quoteIdentifier(c.Schedule))
	}
	if len(c.Options) > 0 {
		w.add("WITH", w.options(c.Options, catalog.CompareOptionList()))
	}
}

func (w *printer) every(cron, zone string) {
	w.add("EVERY", quoteLiteral(cron))
	if zone != "" {
		w.add("TIME ZONE", quoteLiteral(zone))
	}
}

func (w *printer) alterSchedule(s *AlterSchedule) {
	w.add(quoteIdentifier(s.Name))
	switch {
	case s.Cron != "":
		w.every(s.Cron, s.TimeZone)
	case s.RenameTo != "":
		w.add("RENAME TO", quoteIdentifier(s.RenameTo))
	case *s.Enable:
		w.add("ENABLE")
	default:
		w.add("DISABLE")
	}
}
