package fullcopy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/schema"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
)

// Format is how rows travel from COPY TO to COPY FROM.
type Format string

// Values of Config.Format.
const (
	FormatAuto   Format = "auto"   // binary for a table whose every column has the same, stable type on both sides, else text
	FormatBinary Format = "binary" // tables for which that is not safe are refused
	FormatText   Format = "text"
)

// Existing is what becomes of objects that exist in the destination before the task creates them.
type Existing string

// Values of Config.ExistingObjects.
const (
	ExistingFail    Existing = "fail"    // an existing object is a failure; existing schemas are not
	ExistingUse     Existing = "use"     // what exists is taken as it is; tables must be empty
	ExistingAppend  Existing = "append"  // likewise, and tables may hold rows of others, which stay
	ExistingReplace Existing = "replace" // what exists is dropped first, unless something else depends on it
)

// Conflicts is what becomes of rows that collide with others under a unique or exclusion constraint of the destination, where
// the task adds rows to a table or several source tables go into one.
type Conflicts string

// Values of Config.Conflicts.
const (
	ConflictsIgnore Conflicts = "ignore" // the row that is there stays, the other is left out and counted
	ConflictsError  Conflicts = "error"  // the table is not copied
)

// Output plugins.
const (
	PluginPgoutput     = "pgoutput"
	PluginTestDecoding = "test_decoding"
)

// Config says what to copy. Everything without a default is required.
type Config struct {
	Task                string // UUID, the key of the ledger
	Source, Destination *endpoint.Endpoint
	Selection           schema.Selection

	// Slot and Publication are created on the source, to be streamed from afterwards. Their owner records the names before
	// the call. Both empty: the copy alone is wanted.
	Slot, Publication string

	// Plugin decodes for the slot, default PluginPgoutput. PluginTestDecoding has no publication.
	Plugin string

	Workers          int       // pairs of connections that copy rows
	IndexWorkers     int       // connections that build indexes
	SplitAbove       int64     // bytes; a larger table is copied in parts. 0 or less: never
	Format           Format    // default FormatAuto
	ExistingObjects  Existing  // default ExistingFail
	Conflicts        Conflicts // default ConflictsIgnore
	Indexes          bool      // all indexes, not only those behind constraints
	PopulateMatviews bool      // refresh materialized views that are populated on the source
	LargeObjects     bool      // copy large objects; with a selection of the whole database only

	// Roles makes the roles that objects will belong to and be granted to, and returns the names of those that owners and
	// privileges may be carried for. It is called in every run, before the structure is planned, with sessions that are idle.
	// nil: no owners and privileges are carried.
	Roles func(ctx context.Context, src, dst *pgx.Conn) (roles []string, err error)

	WorkDir string  // for what pg_dump needs on disk
	Limiter Limiter // default: no limit
	Report  Reporter
	Logger  *slog.Logger
}

// Limiter is asked before n bytes are moved and blocks until they may be.
type Limiter interface {
	Wait(ctx context.Context, n int) error
}

// Reporter receives progress. Its methods are called from several goroutines and must not block.
type Reporter interface {
	// Tables is called once a round with every table of the task.
	Tables(tables []TableProgress)
	// Table replaces what was said of that table before; a few times a second while it is copied.
	Table(t TableProgress)
	// Object tells of one statement of the structure.
	Object(o ObjectProgress)
	// Phase tells what the copy as a whole is doing. total is 0 where nothing can be counted.
	Phase(name string, done, total int)
}

// Names of phases; a phase that waits for others says so in further words.
const (
	PhaseSnapshot  = "snapshot"
	PhaseStructure = "structure"
	PhaseData      = "data"
	PhaseIndexes   = "indexes"
	PhaseFinish    = "finish"
)

// TableState is how far a table is.
type TableState string

// Values of TableProgress.State.
const (
	TablePending  TableState = "pending"
	TableCopying  TableState = "copying"
	TableCopied   TableState = "copied" // all rows of its unit are committed
	TableIndexing TableState = "indexing"
	TableDone     TableState = "done" // indexes, constraints and statistics as well
	TableFailed   TableState = "failed"
)

// TableProgress is one source table that holds rows; of partition trees the leaves.
type TableProgress struct {
	Source, Destination     schema.Name
	State                   TableState
	RowsEstimated           int64 // where rows are filtered no more than a bound
	BytesEstimated          int64 // on the source's disk
	RowsCopied, BytesCopied int64 // bytes of COPY data
	RowsIgnored             int64 // collided with rows that stayed; not among RowsCopied
	LSN                     pglogrepl.LSN
	Error                   string
	StartedAt, FinishedAt   time.Time // zero until then
}

// ObjectState is how far an object is.
type ObjectState string

// Values of ObjectProgress.State.
const (
	ObjectCreated ObjectState = "created"
	ObjectExisted ObjectState = "existed" // taken as it is
	ObjectFailed  ObjectState = "failed"
	ObjectLeftOut ObjectState = "left out" // never created; Error says why
)

// ObjectProgress is one entry of the structure.
type ObjectProgress struct {
	Type, Name string // as pg_dump calls them
	Target     string // its name in the destination
	State      ObjectState
	Statement  string
	Error      string
}

// Result is what the next stage must know.
type Result struct {
	// HighestLSN is the position the stream must have passed before the destination is consistent; 0 without a slot.
	HighestLSN pglogrepl.LSN
	// Unsettled means that tables were copied at different positions and that nothing that looks at several of them, foreign
	// keys above all, was created yet. Run has to be called again once the stream has passed HighestLSN.
	Unsettled bool
}

// validate names the first field that is missing or wrong and fills in defaults.
func (c *Config) validate() error {
	if c.Plugin == "" {
		c.Plugin = PluginPgoutput
	}
	if c.Format == "" {
		c.Format = FormatAuto
	}
	if c.ExistingObjects == "" {
		c.ExistingObjects = ExistingFail
	}
	if c.Conflicts == "" {
		c.Conflicts = ConflictsIgnore
	}
	for _, f := range []struct {
		name string
		bad  bool
	}{
		{"Task", c.Task == ""},
		{"Source", c.Source == nil},
		{"Destination", c.Destination == nil},
		{"Publication", (c.Slot != "" && c.Plugin == PluginPgoutput) != (c.Publication != "")},
		{"Plugin", c.Plugin != PluginPgoutput && c.Plugin != PluginTestDecoding},
		{"Slot", len(c.Slot)+len(copySlotSuffix) > maxName},
		{"Workers", c.Workers < 1},
		{"IndexWorkers", c.IndexWorkers < 1},
		{"Format", c.Format != FormatAuto && c.Format != FormatBinary && c.Format != FormatText},
		{"ExistingObjects", c.ExistingObjects != ExistingFail && c.ExistingObjects != ExistingUse &&
			c.ExistingObjects != ExistingAppend && c.ExistingObjects != ExistingReplace},
		{"Conflicts", c.Conflicts != ConflictsIgnore && c.Conflicts != ConflictsError},
		{"WorkDir", c.WorkDir == ""},
		{"Report", c.Report == nil},
		{"Logger", c.Logger == nil},
	} {
		if f.bad {
			return fmt.Errorf("fullcopy: Config.%s is missing or invalid", f.name)
		}
	}
	s := c.Selection
	if !s.All && len(s.Schemas)+len(s.Tables)+len(s.Patterns)+len(s.Views)+len(s.Matviews)+len(s.Sequences) == 0 {
		return errors.New("fullcopy: Config.Selection selects nothing")
	}
	return nil
}

// incremental tells whether changes will be streamed afterwards.
func (c *Config) incremental() bool { return c.Slot != "" }

// application is the application_name of all sessions, by which those of a dead predecessor are found.
func (c *Config) application() string { return "pgsyncd " + c.Task + " copy" }

// maxName is the longest name PostgreSQL keeps (NAMEDATALEN - 1).
const maxName = 63
