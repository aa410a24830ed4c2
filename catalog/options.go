package catalog

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// TaskOptions are the options of a task, read. The comments of the fields are those of their options, see [TaskOptionList].
type TaskOptions struct {
	ConflictPolicy    string // error, ignore, overwrite
	SyncIndexes       bool
	SyncDDL           bool
	PopulateMatviews  bool
	Decoder           string // auto, pgoutput, test_decoding
	CopyWorkers       Count  // 0: by cores
	IndexWorkers      Count
	ApplyWorkers      Count
	SplitTableAbove   Size
	CopyFormat        string // auto, binary, text
	ExistingObjects   string // fail, use, append, replace
	FullConflicts     string // ignore, error
	CreateDatabase    bool
	SequenceMargin    int64
	RetryLimit        int64
	HeartbeatInterval time.Duration
	DelayThreshold    time.Duration
	MaxSlotWAL        Size   // 0: no limit
	OnMaxSlotWAL      string // warn, fail
	TimeZone          Zone   // empty: the daemon's
	HistoryRetention  time.Duration
	LargeObjects      bool
	SourceSSLCA       Certificates
	DestinationSSLCA  Certificates
}

// CompareOptions are the options of a comparison, read.
type CompareOptions struct {
	TimeLimit        time.Duration // 0: none
	MaxRowsPerSecond int64         // 0: no limit
	MaxMBPerSecond   int64         // 0: no limit
	MaxDelay         time.Duration
	MaxReportedRows  int64 // per table
	Workers          Count // 0: by cores
	ManyToOne        bool
	MaxTableRows     int64 // 0: no limit
}

// Option describes one option: what sync_parameters shows and the parser accepts.
type Option struct {
	Name         string
	Default      string // normalized text; empty: none is set
	Description  string
	Values       []string // of an enumeration
	Min, Max     int64    // of an integer; of a duration, in seconds
	Secret       bool     // is never shown
	ChangeableIn []State  // states in which ALTER SYNC TASK … SET takes it
}

// Changeable tells whether the option of a task in the given state may be changed.
func (o *Option) Changeable(in State) bool { return slices.Contains(o.ChangeableIn, in) }

// OptionError says what is wrong with an option. Value is empty for an unknown option, Nearest the similar name of one that
// exists, or empty.
type OptionError struct{ Name, Value, Message, Nearest string }

// Error names the option, never its value.
func (e *OptionError) Error() string { return fmt.Sprintf("option %q %s", e.Name, e.Message) }

// bound is an option together with the field of T that takes its value.
type bound[T any] struct {
	Option
	field func(*T) any
}

// beforeStart and running are the two classes of changeable options: what shapes the destination is fixed once the full phase
// has begun, the rest may change as long as the task lives.
var (
	beforeStart = []State{StateConfiguration, StatePendingStart, StateStartFailed}
	whileAlive  = []State{
		StateConfiguration, StatePendingStart, StateStartFailed, StateFull, StateFullFailed, StateIncremental,
		StateIncrementalFailed, StateFault, StatePaused,
	}
)

var taskOptions = []bound[TaskOptions]{
	{
		Option{
			Name: "conflict_policy", Default: "error", Values: []string{"error", "ignore", "overwrite"}, ChangeableIn: whileAlive,
			Description: "What happens when a change meets a conflicting row: error stops the task, ignore records it, overwrite replaces the row.",
		},
		func(t *TaskOptions) any { return &t.ConflictPolicy },
	},
	{
		Option{
			Name: "sync_indexes", Default: "true", ChangeableIn: beforeStart,
			Description: "Copy indexes other than those behind constraints.",
		},
		func(t *TaskOptions) any { return &t.SyncIndexes },
	},
	{
		Option{
			Name: "sync_ddl", Default: "false", ChangeableIn: beforeStart,
			Description: "Replicate DDL in the stream; installs capture objects on the source.",
		},
		func(t *TaskOptions) any { return &t.SyncDDL },
	},
	{
		Option{
			Name: "populate_matviews", Default: "true", ChangeableIn: beforeStart,
			Description: "Refresh materialized views after the full phase.",
		},
		func(t *TaskOptions) any { return &t.PopulateMatviews },
	},
	{
		Option{
			Name: "decoder", Default: "auto", Values: []string{"auto", "pgoutput", "test_decoding"}, ChangeableIn: beforeStart,
			Description: "Output plug-in that decodes the WAL; auto takes pgoutput where it can be used.",
		},
		func(t *TaskOptions) any { return &t.Decoder },
	},
	{
		Option{
			Name: "copy_workers", Default: byCores, ChangeableIn: whileAlive,
			Description: "Connections that copy rows at once, 1 to 256.",
		},
		func(t *TaskOptions) any { return &t.CopyWorkers },
	},
	{
		Option{
			Name: "index_workers", Default: byCores, ChangeableIn: whileAlive,
			Description: "Indexes built at once, 1 to 256.",
		},
		func(t *TaskOptions) any { return &t.IndexWorkers },
	},
	{
		Option{
			Name: "apply_workers", Default: "2", ChangeableIn: whileAlive,
			Description: "Connections that apply a backlog side by side, 1 to 256; transactions commit whole and in the source's order all the same.",
		},
		func(t *TaskOptions) any { return &t.ApplyWorkers },
	},
	{
		Option{
			Name: "split_table_above", Default: "256 MB", ChangeableIn: whileAlive,
			Description: "A larger table is copied by several workers.",
		},
		func(t *TaskOptions) any { return &t.SplitTableAbove },
	},
	{
		Option{
			Name: "copy_format", Default: "auto", Values: []string{"auto", "binary", "text"}, ChangeableIn: whileAlive,
			Description: "Format of COPY; auto takes binary where every type of a table allows it.",
		},
		func(t *TaskOptions) any { return &t.CopyFormat },
	},
	{
		Option{
			Name: "existing_objects", Default: "fail", Values: []string{"fail", "use", "append", "replace"}, ChangeableIn: beforeStart,
			Description: "Objects that exist in the destination: fail, use (empty tables), append to tables another task fills, or replace.",
		},
		func(t *TaskOptions) any { return &t.ExistingObjects },
	},
	{
		Option{
			Name: "full_conflicts", Default: "ignore", Values: []string{"ignore", "error"}, ChangeableIn: beforeStart,
			Description: "Rows that collide in the full phase: ignore counts them, error stops the task.",
		},
		func(t *TaskOptions) any { return &t.FullConflicts },
	},
	{
		Option{
			Name: "create_database", Default: "false", ChangeableIn: beforeStart,
			Description: "Create the destination database when it is missing.",
		},
		func(t *TaskOptions) any { return &t.CreateDatabase },
	},
	{
		Option{
			Name: "sequence_margin", Default: "10000", Max: 1 << 53, ChangeableIn: whileAlive,
			Description: "Added to the values of sequences when the task stops; subtracted from descending ones.",
		},
		func(t *TaskOptions) any { return &t.SequenceMargin },
	},
	{
		Option{
			Name: "retry_limit", Default: "3", Max: 1000, ChangeableIn: whileAlive,
			Description: "Automatic resumes after a fault that is not the network's.",
		},
		func(t *TaskOptions) any { return &t.RetryLimit },
	},
	{
		Option{
			Name: "heartbeat_interval", Default: "10s", Min: 1, Max: 86400, ChangeableIn: whileAlive,
			Description: "How often a WAL message is written on an idle source.",
		},
		func(t *TaskOptions) any { return &t.HeartbeatInterval },
	},
	{
		Option{
			Name: "delay_threshold", Default: "60s", Min: 1, Max: 7 * 86400, ChangeableIn: whileAlive,
			Description: "Delay above which sync_status.delay_exceeded is true.",
		},
		func(t *TaskOptions) any { return &t.DelayThreshold },
	},
	{
		Option{
			Name: "max_slot_wal", Default: "none", ChangeableIn: whileAlive,
			Description: "WAL the task's slot may retain on the source.",
		},
		func(t *TaskOptions) any { return &t.MaxSlotWAL },
	},
	{
		Option{
			Name: "on_max_slot_wal", Default: "warn", Values: []string{"warn", "fail"}, ChangeableIn: whileAlive,
			Description: "What happens above max_slot_wal: warn, or fail: the slot is dropped and the task must be reset.",
		},
		func(t *TaskOptions) any { return &t.OnMaxSlotWAL },
	},
	{
		Option{
			Name: "time_zone", ChangeableIn: whileAlive,
			Description: "Time zone of flow windows and of START AT without an offset; the daemon's when not set.",
		},
		func(t *TaskOptions) any { return &t.TimeZone },
	},
	{
		Option{
			Name: "history_retention", Default: "30 days", Min: 3600, Max: 3650 * 86400, ChangeableIn: whileAlive,
			Description: "How long metrics, log, conflicts and comparison results are kept.",
		},
		func(t *TaskOptions) any { return &t.HistoryRetention },
	},
	{
		Option{
			Name: "large_objects", Default: "true", ChangeableIn: beforeStart,
			Description: "Copy large objects in the full phase.",
		},
		func(t *TaskOptions) any { return &t.LargeObjects },
	},
	{
		Option{
			Name: "source_ssl_ca", Secret: true, ChangeableIn: whileAlive,
			Description: "Certificates, in PEM form, of the authorities the source's certificate is checked against.",
		},
		func(t *TaskOptions) any { return &t.SourceSSLCA },
	},
	{
		Option{
			Name: "destination_ssl_ca", Secret: true, ChangeableIn: whileAlive,
			Description: "Certificates, in PEM form, of the authorities the destination's certificate is checked against.",
		},
		func(t *TaskOptions) any { return &t.DestinationSSLCA },
	},
}

var compareOptions = []bound[CompareOptions]{
	{
		Option{
			Name: "time_limit", Default: "none", Min: 1, Max: 365 * 86400,
			Description: "A run that takes longer ends; for ROWS 60 min by default.",
		},
		func(c *CompareOptions) any { return &c.TimeLimit },
	},
	{
		Option{
			Name: "max_rows_per_second", Default: "none", Min: 1, Max: 1 << 53,
			Description: "Rows read per second from each side, by all workers together.",
		},
		func(c *CompareOptions) any { return &c.MaxRowsPerSecond },
	},
	{
		Option{
			Name: "max_mb_per_second", Default: "none", Min: 1, Max: 1 << 30,
			Description: "Megabytes (1,000,000 bytes of values) read per second from each side, by all workers together.",
		},
		func(c *CompareOptions) any { return &c.MaxMBPerSecond },
	},
	{
		Option{
			Name: "max_delay", Default: "30s", Min: 1, Max: 86400,
			Description: "The comparison yields while the stream's delay is above it.",
		},
		func(c *CompareOptions) any { return &c.MaxDelay },
	},
	{
		Option{
			Name: "max_reported_rows", Default: "1000", Max: 1_000_000,
			Description: "VALUES only: differing rows listed per table; they are counted beyond it.",
		},
		func(c *CompareOptions) any { return &c.MaxReportedRows },
	},
	{
		Option{Name: "workers", Default: byCores, Description: "Connections per side, 1 to 256."},
		func(c *CompareOptions) any { return &c.Workers },
	},
	{
		Option{
			Name: "many_to_one", Default: "true",
			Description: "ROWS only: compare the sum of all source tables that are one in the destination; without, each is counted for itself.",
		},
		func(c *CompareOptions) any { return &c.ManyToOne },
	},
	{
		Option{
			Name: "max_table_rows", Default: "none", Min: 1, Max: 1 << 53,
			Description: "Periodic ROWS only: tables with more rows are left out.",
		},
		func(c *CompareOptions) any { return &c.MaxTableRows },
	},
}

// TaskOptionList returns the options of tasks in the order of the documentation.
func TaskOptionList() []Option { return list(taskOptions) }

// CompareOptionList returns the options of comparisons in the order of the documentation.
func CompareOptionList() []Option { return list(compareOptions) }

// ParseTaskOptions reads options over their defaults. Errors are of type [*OptionError].
func ParseTaskOptions(texts map[string]string) (TaskOptions, error) {
	return parseOptions(taskOptions, texts)
}

// ParseCompareOptions reads options over their defaults; type is OBJECTS, ROWS, VALUES or ACCOUNTS. Errors are of type
// [*OptionError].
func ParseCompareOptions(compareType string, texts map[string]string) (CompareOptions, error) {
	o, err := parseOptions(compareOptions, texts)
	if _, given := texts["time_limit"]; err == nil && !given && compareType == "ROWS" {
		o.TimeLimit = time.Hour
	}
	return o, err
}

// NormalizeTaskOption checks one option of a task and returns the text in which it is stored. Errors are of type [*OptionError].
func NormalizeTaskOption(name, text string) (string, error) {
	var scratch TaskOptions
	return setOption(taskOptions, &scratch, name, text)
}

// NormalizeCompareOption checks one option of a comparison and returns the text in which it is stored. Errors are of type
// [*OptionError].
func NormalizeCompareOption(name, text string) (string, error) {
	var scratch CompareOptions
	return setOption(compareOptions, &scratch, name, text)
}

// NormalizeBool checks a boolean that a statement takes as an option and returns true or false. Errors are of type [*OptionError].
func NormalizeBool(name, text string) (string, error) {
	v, err := parseBool(text)
	if err != nil {
		return "", &OptionError{Name: name, Value: text, Message: err.Error()}
	}
	return strconv.FormatBool(v), nil
}

func list[T any](table []bound[T]) []Option {
	options := make([]Option, len(table))
	for i := range table {
		options[i] = table[i].Option
	}
	return options
}

func parseOptions[T any](table []bound[T], texts map[string]string) (T, error) {
	var options T
	for i := range table {
		o := &table[i]
		if o.Default == "" {
			continue
		}
		if _, err := setValue(o.field(&options), o.Default, &o.Option); err != nil {
			return options, &OptionError{Name: o.Name, Value: o.Default, Message: err.Error()}
		}
	}
	for name, text := range texts {
		if _, err := setOption(table, &options, name, text); err != nil {
			return options, err
		}
	}
	return options, nil
}

func setOption[T any](table []bound[T], options *T, name, text string) (string, error) {
	i := slices.IndexFunc(table, func(o bound[T]) bool { return o.Name == name })
	if i < 0 {
		names := make([]string, len(table))
		for i := range table {
			names[i] = table[i].Name
		}
		return "", &OptionError{Name: name, Message: "does not exist", Nearest: Nearest(name, names)}
	}
	o := &table[i]
	normal, err := setValue(o.field(options), text, &o.Option)
	if err != nil {
		return "", &OptionError{Name: name, Value: text, Message: err.Error()}
	}
	return normal, nil
}
