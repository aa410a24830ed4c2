package sqlapi

import (
	"time"

	"pgsyncd/catalog"

	"github.com/jackc/pglogrepl"
)

// Secret is a password or a connection string. It never prints; Reveal returns what it holds.
type Secret = catalog.Secret

// Statement is a parsed control statement: one struct per form. What all statements of a form have in common (command tag,
// privilege, …) is data, see [FormOf].
type Statement interface{ form() *Form }

// Privilege is what a user of the daemon may do. Each includes the ones before it.
type Privilege string

// The privileges.
const (
	Monitor  Privilege = "monitor"  // read relations, SHOW and WAIT
	Operator Privilege = "operator" // everything but users
	Admin    Privilege = "admin"
)

// Allows tells whether a user with privilege p may do what needs the given one.
func (p Privilege) Allows(needed Privilege) bool {
	rank := map[Privilege]int{Monitor: 1, Operator: 2, Admin: 3}
	return rank[p] > 0 && rank[p] >= rank[needed]
}

// Name is the name of an object, unquoted. Schema is empty where the statement leaves it to the search path. A schema itself has an
// empty Name.
type Name struct{ Schema, Name string }

// Expr is a boolean expression in source form, from its first token to its last: comments and parentheses around it are gone.
type Expr struct {
	Text     string
	Position int // 1-based character of the statement text where the expression begins
}

// ObjectKind is the word an object is introduced by.
type ObjectKind string

// The kinds of objects.
const (
	Schema           ObjectKind = "SCHEMA"
	Table            ObjectKind = "TABLE"
	TablesMatching   ObjectKind = "TABLES MATCHING"
	View             ObjectKind = "VIEW"
	MaterializedView ObjectKind = "MATERIALIZED VIEW"
	Sequence         ObjectKind = "SEQUENCE"
)

// Object selects one object of the source, or by a pattern several. MAP and EXCEPT items are objects of fewer kinds.
type Object struct {
	Kind    ObjectKind
	Name    Name     // zero for TABLES MATCHING
	As      Name     // name in the destination; zero when it is the same
	Columns []Column // nil: all
	Where   Expr     // zero: every row
	Pattern string   // TABLES MATCHING only

	Position int // 1-based character of the statement text where the object begins
}

// Column is a column of a table's list; As is its name in the destination, empty when it is the same.
type Column struct{ Name, As string }

// Scope is the FOR clause. With All, Map renames and Except leaves out; otherwise Objects is the selection.
type Scope struct {
	All         bool
	Map, Except []Object
	Objects     []Object
}

// Accounts is the ACCOUNTS clause; its zero value is NONE.
type Accounts struct {
	All   bool
	Roles []string
}

// Mode is the MODE clause, spelled as the catalog stores it.
type Mode string

// The modes.
const (
	Full               Mode = "full"
	Incremental        Mode = "incremental"
	FullAndIncremental Mode = "full and incremental"
)

// When is the kind of a START clause.
type When string

// The kinds of START clauses.
const (
	Manual When = "manual"
	Now    When = "now"
	At     When = "at"
)

// Start is a START clause. At is the text of a valid time stamp; where it names no offset it is in the task's time zone, see
// [ParseTimestamp].
type Start struct {
	When    When
	At      string
	Confirm Confirm
}

// Confirm names the precheck items the operator accepts; its zero value accepts none.
type Confirm struct {
	All   bool
	Items []string
}

// Flow limits the full phase, to 1 to 9999 MB per second; its zero value is UNLIMITED. There are at most three windows, which do
// not overlap.
type Flow = catalog.Flow

// Window is a daily range of a flow limit.
type Window = catalog.Window

// Tag is a key and its value.
type Tag struct{ Key, Value string }

// Targets are the tasks a statement applies to: those named, or those that carry a tag.
type Targets struct {
	Names []string
	Tag   *Tag
}

// Side is an end of a task.
type Side string

// The sides.
const (
	Source      Side = "source"
	Destination Side = "destination"
)

// CreateTask is CREATE SYNC TASK. Options hold normalized texts, see package catalog.
type CreateTask struct {
	Name        string
	IfNotExists bool
	Source      Secret
	Destination Secret
	Mode        Mode
	Scope       Scope
	Accounts    Accounts
	Start       Start
	Flow        Flow
	Options     map[string]string
	Comment     string
	Tags        []Tag
}

// AlterTask is ALTER SYNC TASK.
type AlterTask struct {
	Name     string
	IfExists bool
	Action   AlterAction
}

// AlterAction is what ALTER SYNC TASK changes: one of the types below.
type AlterAction interface{ alter() }

// The actions of ALTER SYNC TASK.
type (
	// Rename is RENAME TO.
	Rename struct{ To string }
	// SetComment is COMMENT; an empty text removes it.
	SetComment struct{ Text string }
	// SetTag is SET TAG; it replaces the value of a tag that exists.
	SetTag struct{ Tag Tag }
	// DropTag is DROP TAG.
	DropTag struct{ Key string }
	// SetOptions is SET ( … ), with normalized texts.
	SetOptions struct{ Options map[string]string }
	// ResetOptions is RESET ( … ).
	ResetOptions struct{ Names []string }
	// SetEndpoint is SET SOURCE or SET DESTINATION.
	SetEndpoint struct {
		Side     Side
		Conninfo Secret
	}
	// SetPassword is SET SOURCE PASSWORD or SET DESTINATION PASSWORD.
	SetPassword struct {
		Side     Side
		Password Secret
	}
	// SetStart is SET START; it has no Confirm.
	SetStart struct{ Start Start }
	// SetFlow is SET FLOW.
	SetFlow struct{ Flow Flow }
	// SetMode is SET MODE.
	SetMode struct{ Mode Mode }
	// SetScope is SET FOR.
	SetScope struct{ Scope Scope }
	// SetAccounts is SET ACCOUNTS.
	SetAccounts struct{ Accounts Accounts }
	// AddObjects is ADD.
	AddObjects struct{ Objects []Object }
	// DropObjects is DROP; the names are those of the source.
	DropObjects struct{ Objects []Object }
	// SkipDDL is SKIP DDL.
	SkipDDL struct{ LSN pglogrepl.LSN }
	// RetryDDL is RETRY DDL.
	RetryDDL struct{}
)

func (Rename) alter()       {}
func (SetComment) alter()   {}
func (SetTag) alter()       {}
func (DropTag) alter()      {}
func (SetOptions) alter()   {}
func (ResetOptions) alter() {}
func (SetEndpoint) alter()  {}
func (SetPassword) alter()  {}
func (SetStart) alter()     {}
func (SetFlow) alter()      {}
func (SetMode) alter()      {}
func (SetScope) alter()     {}
func (SetAccounts) alter()  {}
func (AddObjects) alter()   {}
func (DropObjects) alter()  {}
func (SkipDDL) alter()      {}
func (RetryDDL) alter()     {}

// Statements about tasks.
type (
	// TestTask is TEST SYNC TASK.
	TestTask struct{ Name string }
	// TestConnection is TEST SYNC CONNECTION; Side is empty when the statement names none.
	TestConnection struct {
		Conninfo Secret
		Side     Side
	}
	// PrecheckTask is PRECHECK SYNC TASK.
	PrecheckTask struct{ Name string }
	// ExplainCreate is EXPLAIN CREATE SYNC TASK.
	ExplainCreate struct{ Create CreateTask }
	// ExplainTask is EXPLAIN SYNC TASK.
	ExplainTask struct{ Name string }
	// StartTasks is START SYNC TASK; At is empty to start now.
	StartTasks struct {
		IfExists bool
		Targets  Targets
		At       string
		Confirm  Confirm
	}
	// PauseTasks is PAUSE SYNC TASK.
	PauseTasks struct{ Targets Targets }
	// ResumeTasks is RESUME SYNC TASK.
	ResumeTasks struct{ Targets Targets }
	// ResetTasks is RESET SYNC TASK.
	ResetTasks struct {
		Targets          Targets
		ClearDestination bool
	}
	// StopTasks is STOP SYNC TASK.
	StopTasks struct {
		Targets Targets
		Force   bool
	}
	// DropTasks is DROP SYNC TASK.
	DropTasks struct {
		IfExists bool
		Targets  Targets
		Force    bool
	}
	// CloneTask is CLONE SYNC TASK.
	CloneTask struct {
		Name, As      string
		CopyPasswords bool
	}
	// WaitTask is WAIT FOR SYNC TASK. Exactly one of State, LSN and CaughtUp is set.
	WaitTask struct {
		Name     string
		State    string // a task state, verbatim
		CaughtUp bool
		LSN      pglogrepl.LSN
		Timeout  time.Duration // 0: none
	}
)

// CompareType is what a comparison compares.
type CompareType string

// The types of comparisons.
const (
	CompareObjects  CompareType = "OBJECTS"
	CompareRows     CompareType = "ROWS"
	CompareValues   CompareType = "VALUES"
	CompareAccounts CompareType = "ACCOUNTS"
)

// Statements about comparisons.
type (
	// Compare is COMPARE SYNC TASK. With At or Cron it makes a schedule, otherwise a run.
	Compare struct {
		Task     string
		Type     CompareType
		Tables   []Name // source names; nil: all
		At       string // see [Start]
		Cron     string
		TimeZone string // with Cron
		Schedule string // name of the schedule; empty: one is made up
		Options  map[string]string
	}
	// CancelCompare is CANCEL COMPARE.
	CancelCompare struct{ Run int64 }
	// RepairCompare is REPAIR COMPARE.
	RepairCompare struct {
		Run    int64
		DryRun bool
	}
	// AlterSchedule is ALTER COMPARE SCHEDULE. Exactly one of Cron, RenameTo and Enable is set.
	AlterSchedule struct {
		Name     string
		Cron     string
		TimeZone string // with Cron; empty: unchanged
		Enable   *bool
		RenameTo string
	}
	// DropSchedule is DROP COMPARE SCHEDULE.
	DropSchedule struct {
		Name     string
		IfExists bool
	}
	// ShowReport is SHOW COMPARE REPORT.
	ShowReport struct{ Run int64 }
)

// Statements about users.
type (
	// CreateUser is CREATE SYNC USER.
	CreateUser struct {
		Name     string
		Password Secret
		Role     Privilege
	}
	// AlterUser is ALTER SYNC USER; exactly one of Password and Role is set.
	AlterUser struct {
		Name     string
		Password Secret
		Role     Privilege
	}
	// DropUser is DROP SYNC USER.
	DropUser struct {
		Name     string
		IfExists bool
	}
)

// Statements that show.
type (
	// ShowTasks is SHOW SYNC TASKS.
	ShowTasks struct{}
	// ShowTask is SHOW SYNC TASK.
	ShowTask struct{ Name string }
	// ShowCreate is SHOW CREATE SYNC TASK.
	ShowCreate struct{ Name string }
	// ShowObjects is SHOW SYNC OBJECTS.
	ShowObjects struct{ Name string }
	// ShowHelp is SHOW SYNC HELP; About is empty for everything.
	ShowHelp struct{ About string }
	// ShowDDLSetup is SHOW SYNC DDL SETUP.
	ShowDDLSetup struct{ Name string }
)
