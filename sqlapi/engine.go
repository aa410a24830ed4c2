package sqlapi

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"pgsyncd/catalog"
	"pgsyncd/compare"
	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/precheck"
)

// Supervisor is what the engine needs of the part that runs tasks.
type Supervisor interface {
	// Wake makes it look at what is wanted of the tasks.
	Wake()
	// Precheck makes every check of a task and records the results.
	Precheck(ctx context.Context, t catalog.Task) ([]precheck.Result, error)
	// Endpoints returns the two endpoints of a task.
	Endpoints(t catalog.Task) (source, destination *endpoint.Endpoint, err error)
	// Changed returns a channel that is closed when a task that runs in this daemon gets into another state.
	Changed() <-chan struct{}
	// Flush brings the live figures in the catalog up to date.
	Flush(ctx context.Context)
}

// Comparisons is what the engine needs of the part that compares.
type Comparisons interface {
	// Wake makes it look for queued runs.
	Wake()
	// Repair makes the rows that a run reported equal, or with dry tells how.
	Repair(ctx context.Context, run int64, user string, dry bool) (*compare.Repair, error)
	// Report is a run as an HTML page.
	Report(ctx context.Context, run int64) (string, error)
}

// EngineConfig is what an Engine needs; every field is required.
type EngineConfig struct {
	Catalog     *catalog.Catalog
	Supervisor  Supervisor
	Comparisons Comparisons
	ConnInfoDir string // where files named by endpoints may lie
	Logger      *slog.Logger
}

// Engine executes control statements. Its methods are safe for concurrent use.
type Engine struct {
	cfg EngineConfig

	mu     sync.Mutex
	tokens map[uint64][]string // results kept for a session, by session id
}

// NewEngine returns an engine.
func NewEngine(cfg EngineConfig) (*Engine, error) {
	switch {
	case cfg.Catalog == nil:
		return nil, errors.New("sqlapi: EngineConfig.Catalog is missing")
	case cfg.Supervisor == nil:
		return nil, errors.New("sqlapi: EngineConfig.Supervisor is missing")
	case cfg.Comparisons == nil:
		return nil, errors.New("sqlapi: EngineConfig.Comparisons is missing")
	case cfg.ConnInfoDir == "":
		return nil, errors.New("sqlapi: EngineConfig.ConnInfoDir is missing")
	case cfg.Logger == nil:
		return nil, errors.New("sqlapi: EngineConfig.Logger is missing")
	}
	return &Engine{cfg: cfg, tokens: map[uint64][]string{}}, nil
}

// ParsePrivilege reads a privilege as the catalog stores it.
func ParsePrivilege(text string) (Privilege, error) {
	switch p := Privilege(text); p {
	case Monitor, Operator, Admin:
		return p, nil
	}
	return "", fmt.Errorf("unknown privilege %q", text)
}

// Prepare parses a control statement and checks that the session's user may execute it, that it is one the daemon can do, and that
// it does not contradict itself.
// It changes nothing.
func (e *Engine) Prepare(s *Session, text string) (*Prepared, error) {
	stmt, err := Parse(text)
	if err != nil {
		return nil, err
	}
	form := FormOf(stmt)
	if !s.Privilege.Allows(form.Privilege) {
		return nil, Errorf(CodeDenied, "permission denied for %s", form.Tag).
			WithDetail("The statement needs the privilege %s; user %q has %s.", strings.ToUpper(string(form.Privilege)), s.User, strings.ToUpper(string(s.Privilege)))
	}
	if err := supported(stmt); err != nil {
		return nil, err
	}
	if err := acceptable(stmt); err != nil {
		return nil, err
	}
	p := &Prepared{Statement: stmt, Tag: form.Tag}
	if form.Rows {
		p.token = newToken()
		p.Query = resultQuery(stmt, p.token)
	}
	return p, nil
}

// Run does what a prepared statement says. When it returns without error, the rows of p.Query are in place.
func (e *Engine) Run(ctx context.Context, s *Session, p *Prepared) error {
	rows, err := e.execute(ctx, s, p.Statement)
	if err != nil {
		return explain(err)
	}
	if rows == nil {
		return nil
	}
	e.mu.Lock()
	e.tokens[s.ID] = append(e.tokens[s.ID], p.token)
	e.mu.Unlock()
	return e.cfg.Catalog.PutResult(ctx, p.token, rows)
}

// Release forgets the results kept for a session.
func (e *Engine) Release(s *Session) {
	e.mu.Lock()
	tokens := e.tokens[s.ID]
	delete(e.tokens, s.ID)
	e.mu.Unlock()
	if len(tokens) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	if err := e.cfg.Catalog.DropResults(ctx, tokens...); err != nil {
		e.cfg.Logger.Warn("drop statement results", "error", err)
	}
}

// newToken is a name for a result that nobody can guess.
func newToken() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// execute runs one statement. Rows are nil for statements that return none, or whose rows come from a view.
func (e *Engine) execute(ctx context.Context, s *Session, stmt Statement) ([][]*string, error) {
	switch stmt := stmt.(type) {
	case *CreateTask:
		return nil, e.createTask(ctx, s, stmt)
	case *AlterTask:
		return nil, e.alterTask(ctx, s, stmt)
	case *StartTasks:
		return nil, e.startTasks(ctx, s, stmt)
	case *PauseTasks:
		return nil, e.fireAll(ctx, s, stmt.Targets, catalog.EventPause)
	case *ResumeTasks:
		return nil, e.fireAll(ctx, s, stmt.Targets, catalog.EventResume)
	case *ResetTasks:
		return nil, e.resetTasks(ctx, s, stmt)
	case *StopTasks:
		return nil, e.stopTasks(ctx, s, stmt)
	case *DropTasks:
		return nil, e.dropTasks(ctx, s, stmt)
	case *WaitTask:
		return nil, e.wait(ctx, s, stmt)
	case *TestTask:
		return e.testTask(ctx, stmt)
	case *TestConnection:
		return e.testConnection(ctx, s, stmt)
	case *PrecheckTask:
		return nil, e.precheck(ctx, stmt)
	case *Compare:
		return e.compare(ctx, s, stmt)
	case *CancelCompare:
		return nil, e.cancelCompare(ctx, stmt)
	case *RepairCompare:
		return e.repairCompare(ctx, s, stmt)
	case *ShowReport:
		return e.showReport(ctx, stmt)
	case *AlterSchedule:
		return nil, e.alterSchedule(ctx, stmt)
	case *DropSchedule:
		return nil, e.dropSchedule(ctx, s, stmt)
	case *CreateUser:
		return nil, e.createUser(ctx, stmt)
	case *AlterUser:
		return nil, e.alterUser(ctx, stmt)
	case *DropUser:
		return nil, e.dropUser(ctx, s, stmt)
	case *ShowTask:
		return nil, e.mustExist(ctx, stmt.Name)
	case *ShowObjects:
		return nil, e.mustExist(ctx, stmt.Name)
	case *ShowCreate:
		return e.showCreate(ctx, stmt)
	case *ShowHelp:
		return showHelp(stmt)
	case *ShowTasks:
		return nil, nil
	}
	return nil, unsupported(FormOf(stmt).Tag)
}

// explain gives the errors of other packages their SQLSTATE, DETAIL and HINT.
func explain(err error) error {
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	if state, ok := errors.AsType[*catalog.StateError](err); ok {
		return wrongState(state)
	}
	if option, ok := errors.AsType[*catalog.OptionError](err); ok {
		return optionError(option)
	}
	if r := refused(err); r != nil {
		return r
	}
	if conninfo, ok := errors.AsType[*endpoint.ConnInfoError](err); ok {
		return &Error{Code: CodeInvalidValue, Message: conninfo.Error(), Err: err}
	}
	if _, ok := errors.AsType[*endpoint.ConnectError](err); ok {
		d := endpoint.Diagnose(err)
		return &Error{Code: d.Code, Message: d.Message, Detail: d.Detail, Hint: d.Hint, Err: err}
	}
	// Somebody else was faster: statements look before they act, so these are met between the two.
	switch {
	case errors.Is(err, catalog.ErrNotFound):
		return &Error{Code: CodeUndefined, Message: "it was dropped meanwhile", Err: err}
	case errors.Is(err, catalog.ErrExists):
		return &Error{Code: CodeDuplicate, Message: "the name was taken meanwhile", Err: err}
	case errors.Is(err, catalog.ErrFinished):
		return &Error{Code: CodeWrongState, Message: "the comparison has ended meanwhile", Err: err}
	}
	return err
}

// wrongState is 55000 with the statements that are possible instead.
func wrongState(s *catalog.StateError) *Error {
	e := Errorf(CodeWrongState, "cannot %s task %q now", s.Event, s.Task).WithDetail("The task is in state %q.", s.State)
	var possible []string
	for _, ev := range s.Possible {
		if ev == catalog.EventModify {
			continue // no statement of this version raises them
		}
		possible = append(possible, statementFor(ev, s.Task))
	}
	if len(possible) > 0 {
		e.Hint = "Possible now: " + strings.Join(possible, " ")
	}
	return e
}

// statementFor is the statement that raises an operator's event.
func statementFor(ev catalog.Event, task string) string {
	name := quoteIdentifier(task)
	switch ev {
	case catalog.EventStart:
		return "START SYNC TASK " + name + ";"
	case catalog.EventSchedule:
		return "START SYNC TASK " + name + " AT '…';"
	case catalog.EventUnschedule:
		return "ALTER SYNC TASK " + name + " SET START MANUAL;"
	case catalog.EventModify:
		return "ALTER SYNC TASK " + name + " …;"
	case catalog.EventForceStop:
		return "STOP SYNC TASK " + name + " FORCE;"
	default:
		return strings.ToUpper(string(ev)) + " SYNC TASK " + name + ";"
	}
}

// find returns a task, 42704 if there is none.
func (e *Engine) find(ctx context.Context, name string) (catalog.Task, error) {
	t, err := e.cfg.Catalog.Task(ctx, name)
	if errors.Is(err, catalog.ErrNotFound) {
		return t, Errorf(CodeUndefined, "task %q does not exist", name).WithHint("SHOW SYNC TASKS; lists the tasks.")
	}
	return t, err
}

func (e *Engine) mustExist(ctx context.Context, name string) error {
	_, err := e.find(ctx, name)
	return err
}

// resolve returns the tasks a statement applies to, each once. With ifExists a missing one is a notice.
func (e *Engine) resolve(ctx context.Context, s *Session, targets Targets, ifExists bool) ([]catalog.Task, error) {
	var tasks []catalog.Task
	for i, name := range targets.Names {
		if slices.Contains(targets.Names[:i], name) {
			continue
		}
		t, err := e.find(ctx, name)
		if missing, ok := errors.AsType[*Error](err); ok && ifExists && missing.Code == CodeUndefined {
			s.Notice(Notice{Message: missing.Message + ", skipping"})
			continue
		}
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, t)
	}
	if targets.Tag == nil {
		return tasks, nil
	}
	all, err := e.cfg.Catalog.Tasks(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range all {
		if value, ok := t.Tags[targets.Tag.Key]; ok && value == targets.Tag.Value {
			tasks = append(tasks, t)
		}
	}
	if len(tasks) == 0 {
		s.Notice(Notice{Message: fmt.Sprintf("no task has the tag %s = %s", targets.Tag.Key, quoteLiteral(targets.Tag.Value))})
	}
	return tasks, nil
}
