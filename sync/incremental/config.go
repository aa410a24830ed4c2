package incremental

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/schema"

	"github.com/jackc/pglogrepl"
)

// Output plugins.
const (
	PluginPgoutput     = "pgoutput"
	PluginTestDecoding = "test_decoding"
)

// Conflict policies.
const (
	PolicyError     = "error"     // the task stops
	PolicyIgnore    = "ignore"    // the change is skipped
	PolicyOverwrite = "overwrite" // the source's row wins
)

const (
	defaultBatchBytes = 16 << 20
	defaultHeartbeat  = 10 * time.Second
	defaultWorkers    = 2
	defaultReserve    = 512 << 20
)

// Config describes a stream.
type Config struct {
	Task        string             // uuid, as in the ledger
	Source      *endpoint.Endpoint // the database with slot and publication
	Destination *endpoint.Endpoint // the database with the ledger
	Slot        string             // a logical slot with the plugin
	Plugin      string             // default PluginPgoutput
	Publication string             // for PluginPgoutput only
	Selection   schema.Selection
	Policy      string        // default PolicyError
	Append      bool          // tables that the task did not create had rows of others before: TRUNCATE is refused there
	Heartbeat   time.Duration // default 10 s; write to the source's WAL when nothing came for so long
	BatchBytes  int           // default 16 MiB; decoded changes held in the queue, and again in each batch being applied
	Workers     int           // default 2; at most so many connections apply batches of a backlog side by side; 1: no such batches
	Drain       Drain         // when a backlog is read another way
	Meter       *Meter        // default: one of its own; counts what the stream does
	Report      Reporter      // required: conflicts must be recorded
	Logger      *slog.Logger  // default: none
	// SpillDir is where transactions that the source (14 or newer, PluginPgoutput) sends before they have committed wait for
	// their commit, in a directory named like the task, which is removed at the start and at the end of a stream. Default: the source keeps
	// them until then.
	SpillDir     string
	SpillReserve int64 // default 512 MiB; with less free on the disk of SpillDir, the stream does without

	// Elsewhere is the system identifier of a cluster that the destination may be found on although the task wrote to another one.
	Elsewhere string
	// Notice puts on record what an operator should know and that does not end the stream; nil: it is logged only.
	Notice func(ctx context.Context, event, message, detail string)
}

func (c Config) withDefaults() (Config, error) {
	if c.Policy == "" {
		c.Policy = PolicyError
	}
	if c.Plugin == "" {
		c.Plugin = PluginPgoutput
	}
	if c.Heartbeat == 0 {
		c.Heartbeat = defaultHeartbeat
	}
	if c.BatchBytes == 0 {
		c.BatchBytes = defaultBatchBytes
	}
	c.Drain = c.Drain.withDefaults()
	if c.Workers == 0 {
		c.Workers = defaultWorkers
	}
	if c.Meter == nil {
		c.Meter = new(Meter)
	}
	if c.SpillReserve == 0 {
		c.SpillReserve = defaultReserve
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case c.Task == "":
		return c, errors.New("stream: Task is empty")
	case c.Source == nil:
		return c, errors.New("stream: Source is missing")
	case c.Destination == nil:
		return c, errors.New("stream: Destination is missing")
	case c.Slot == "":
		return c, errors.New("stream: Slot is empty")
	case c.Plugin != PluginPgoutput && c.Plugin != PluginTestDecoding:
		return c, fmt.Errorf("stream: Plugin %q is none of pgoutput, test_decoding", c.Plugin)
	case (c.Plugin == PluginPgoutput) != (c.Publication != ""):
		return c, errors.New("stream: Publication does not go with Plugin")
	case c.Report == nil:
		return c, errors.New("stream: Report is missing")
	case c.Heartbeat < 0:
		return c, fmt.Errorf("stream: Heartbeat is negative: %s", c.Heartbeat)
	case c.BatchBytes < 0:
		return c, fmt.Errorf("stream: BatchBytes is negative: %d", c.BatchBytes)
	case c.Workers < 0:
		return c, fmt.Errorf("stream: Workers is negative: %d", c.Workers)
	case c.Drain.After < 0 || c.Drain.Changes < 0:
		return c, fmt.Errorf("stream: Drain is negative: after %s, changes %d", c.Drain.After, c.Drain.Changes)
	case c.SpillReserve < 0:
		return c, fmt.Errorf("stream: SpillReserve is negative: %d", c.SpillReserve)
	}
	switch c.Policy {
	case PolicyError, PolicyIgnore, PolicyOverwrite:
		return c, nil
	}
	return c, fmt.Errorf("stream: Policy %q is none of error, ignore, overwrite", c.Policy)
}

// Reporter takes what a stream tells about itself. Progress and Table must not block. Its methods are called one at a time, by the
// goroutine that commits.
type Reporter interface {
	// Progress is called after every commit in the destination, and when positions move on an idle stream.
	Progress(Progress)
	// Table tells what a committed batch did to a source table.
	Table(name schema.Name, inserts, updates, deletes, truncates int64)
	// Conflicts records conflicts durably. It is called before the batch they belong to commits, so after a crash the same
	// conflict may be reported again; an error keeps the batch from committing.
	Conflicts(ctx context.Context, conflicts []Conflict) error
}

// Progress is where a stream stands. Confirmed ≤ Applied ≤ Received.
type Progress struct {
	Received  pglogrepl.LSN // the source has sent everything before
	Applied   pglogrepl.LSN // everything before is durable in the destination
	Confirmed pglogrepl.LSN // the destination's ledger says so; the source may forget what is before

	CommitTime   time.Time     // of the last applied transaction, by the source's clock
	Delay        time.Duration // from its commit in the source to its commit in the destination
	Transactions int64         // applied since Run
	Rows         int64         // changes applied since Run
	Conflicts    int64         // recorded since Run
	Replays      int64         // batches that the quick way did not fit, since Run
	Drained      int64         // messages that were read from copies of the slot, since Run
	CaughtUp     bool          // nothing that was received waits to be applied
}

// Kinds of a Conflict.
const (
	InsertExists    = "insert_exists"    // the destination has a row with the key of an inserted one
	UpdateMissing   = "update_missing"   // the row to update is not there
	DeleteMissing   = "delete_missing"   // the row to delete is not there
	UniqueViolation = "unique_violation" // another row has a value that must be unique
)

// Actions taken about a Conflict.
const (
	ActionStopped   = "stopped"
	ActionSkipped   = "skipped"
	ActionUpdated   = "updated"  // an insert became an update
	ActionInserted  = "inserted" // an update became an insert
	ActionWasAbsent = "already absent"
)

// Conflict is a change that the destination's rows did not fit.
type Conflict struct {
	Time           time.Time
	Table          schema.Name     // in the source
	Kind           string          // one of the kinds above
	Key            json.RawMessage // object of the columns that address the row
	SourceRow      json.RawMessage // object of the columns that the source sent; values as text
	DestinationRow json.RawMessage // as row_to_json gives it; null when there is none or it is unknown
	LSN            pglogrepl.LSN   // start of the commit record of the source transaction; with test_decoding of its first change
	Action         string          // one of the actions above
}
