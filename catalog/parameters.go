package catalog

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// Parameter describes one option of a task for sync_parameters.
type Parameter struct {
	Name        string
	Default     string // empty: none
	Description string
	// Fixed options shape what the full phase makes, so they change only before the start.
	Fixed bool
}

// Parameters lists the options of a task in the order they are shown.
var Parameters = []Parameter{
	{Name: "conflict_policy", Default: "error", Description: "what to do with a change that does not fit the destination: error, ignore, overwrite"},
	{Name: "sync_indexes", Default: "true", Fixed: true, Description: "copy indexes other than those behind constraints"},
	{Name: "sync_ddl", Default: "false", Fixed: true, Description: "replicate DDL in the stream"},
	{Name: "populate_matviews", Default: "true", Fixed: true, Description: "refresh materialized views after the full phase"},
	{Name: "decoder", Default: "auto", Fixed: true, Description: "logical decoding plug-in: auto, pgoutput, test_decoding"},
	{Name: "copy_workers", Description: "sessions that copy data; default by cores"},
	{Name: "index_workers", Description: "sessions that build indexes; default by cores"},
	{Name: "apply_workers", Description: "sessions that apply changes; default by cores"},
	{Name: "split_table_above", Default: "256 MB", Description: "a larger table is copied by several workers"},
	{Name: "copy_format", Default: "auto", Description: "format of copied data: auto, binary, text"},
	{Name: "existing_objects", Default: "fail", Fixed: true, Description: "what to do with objects that exist in the destination: fail, use, append, replace"},
	{Name: "full_conflicts", Default: "ignore", Fixed: true, Description: "what to do with rows that collide in the full phase: ignore, error"},
	{Name: "create_database", Default: "false", Fixed: true, Description: "create the destination database when it is missing"},
	{Name: "sequence_margin", Default: "10000", Description: "added to sequences on stop"},
	{Name: "retry_limit", Default: "3", Description: "automatic resumes after a fault other than of the network"},
	{Name: "heartbeat_interval", Default: "10s", Description: "how often to write a WAL message on an idle source"},
	{Name: "delay_threshold", Default: "60s", Description: "above it sync_status.delay_exceeded is true"},
	{Name: "max_slot_wal", Description: "WAL that the slot may retain on the source; default unlimited"},
	{Name: "on_max_slot_wal", Default: "warn", Description: "what to do above max_slot_wal: warn, fail"},
	{Name: "time_zone", Description: "of flow windows and start times without an offset; default the daemon's"},
	{Name: "history_retention", Default: "30 days", Description: "how long metrics, log, conflicts and comparison results are kept"},
	{Name: "large_objects", Default: "true", Fixed: true, Description: "copy large objects in the full phase"},
	{Name: "source_ssl_ca", Description: "certificate authority of the source, PEM"},
	{Name: "destination_ssl_ca", Description: "certificate authority of the destination, PEM"},
}

// certificates are the options that are encrypted at rest.
var certificates = []string{"source_ssl_ca", "destination_ssl_ca"}

// ChangeableIn lists the states of a task in which the option can change.
func (p Parameter) ChangeableIn() []State {
	states := []State{StateCreationFailed, StateConfiguration, StatePendingStart}
	if !p.Fixed {
		states = append(states, StateStartFailed, StateFull, StateFullFailed, StateIncremental, StateIncrementalFailed,
			StateModifyingFailed, StatePaused)
	}
	return states
}

// ParameterChangeable says whether an option can change in a state; an unknown option cannot.
func ParameterChangeable(name string, s State) bool {
	i := slices.IndexFunc(Parameters, func(p Parameter) bool { return p.Name == name })
	return i >= 0 && slices.Contains(Parameters[i].ChangeableIn(), s)
}

// describeOptions writes Parameters into the catalog for the view sync_parameters.
func describeOptions(ctx context.Context, conn *pgx.Conn) error {
	const upsert = `INSERT INTO pgsyncd.option (name, ordinal, default_value, changeable_in, description)
		VALUES ($1, $2, nullif($3, ''), $4, $5) ON CONFLICT (name) DO UPDATE SET (ordinal, default_value, changeable_in, description)
		= (excluded.ordinal, excluded.default_value, excluded.changeable_in, excluded.description)`
	batch := &pgx.Batch{}
	var names []string
	for i, p := range Parameters {
		names = append(names, p.Name)
		batch.Queue(upsert, p.Name, i, p.Default, p.ChangeableIn(), p.Description)
	}
	batch.Queue("DELETE FROM pgsyncd.option WHERE name <> ALL ($1)", names)
	if err := conn.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("describe options: %w", err)
	}
	return nil
}
