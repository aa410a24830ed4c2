package sync

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"pgsyncd/catalog"
	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/fullcopy"
	"pgsyncd/sync/group"
	"pgsyncd/sync/incremental"
	"pgsyncd/sync/ledger"
	"pgsyncd/sync/precheck"
)

const (
	firstPause   = time.Second
	longestPause = 30 * time.Second
)

// run takes the task from wherever it is to its end: the completion of a full task, or a stream that runs until the task
// gets another duty. Faults are overcome here.
func (r *runner) run(ctx context.Context) {
	wait, attempts := firstPause, int64(0)
	for {
		before := r.figures.work()
		err := r.attempt(ctx)
		if errors.Is(context.Cause(ctx), errSettingsChanged) {
			r.record(ctx, "info", "settings changed", "the stream goes on with the changed settings", "")
		}
		if err == nil || ctx.Err() != nil {
			return
		}
		kind := endpoint.Classify(err)
		if r.figures.work() > before {
			wait, attempts = firstPause, 0
		}
		if kind == endpoint.FaultOther {
			attempts++
		}
		if kind == endpoint.FaultPermanent || attempts > r.retryLimit() {
			r.fail(ctx, err)
			return
		}
		ch := r.explain(err)
		r.log.Warn("fault", "error", ch.Error, "retry_in", wait)
		if r.task.State != catalog.StateFault {
			r.fire(ctx, catalog.EventFault, ch)
		}
		if !pause(ctx, wait) {
			return
		}
		wait = min(2*wait, longestPause)
	}
}

// retryLimit is the option as it is now: it may have been altered while the attempt lasted.
func (r *runner) retryLimit() int64 {
	if o, err := catalog.ParseTaskOptions(r.inUse.Load().Options); err == nil {
		return o.RetryLimit
	}
	return r.options.RetryLimit
}

// attempt does what is left of the task and returns on the first fault.
func (r *runner) attempt(ctx context.Context) error {
	if current, err := r.refresh(ctx); err != nil || !current {
		return err
	}
	if r.notes.Phase == phaseReset {
		if err := r.clearAway(ctx); err != nil {
			return err
		}
	}
	if r.notes.Phase == phaseNew || r.notes.Phase == phaseReset {
		if err := r.admit(ctx); err != nil {
			return err
		}
		if r.options.CreateDatabase {
			if err := createDatabase(ctx, r.source, r.destination); err != nil {
				return err
			}
		}
		if err := r.begin(ctx); err != nil {
			return err
		}
	}
	if r.notes.Phase == phaseFull {
		bring := r.copy
		if r.task.Mode == catalog.ModeIncremental {
			bring = r.adopt
		}
		if err := bring(ctx); err != nil {
			return err
		}
		if current, err := r.refresh(ctx); err != nil || !current {
			return err
		}
	}
	if !r.incremental() {
		return r.finishFull(ctx)
	}
	return r.follow(ctx)
}

// begin notes what the task will have on the source, before any of it is made.
func (r *runner) begin(ctx context.Context) error {
	slot, publication := sourceNames(r.task.ID)
	plugin, reason := "", ""
	if r.incremental() {
		var err error
		if plugin, reason, err = precheck.Plugin(ctx, r.precheckInput()); err != nil {
			return err
		}
		if plugin == incremental.PluginTestDecoding {
			publication = ""
		}
	}
	if err := r.note(ctx, func(n *notes) {
		*n = notes{Phase: phaseFull, Slot: slot, Publication: publication, Plugin: plugin}
	}); err != nil {
		return err
	}
	if plugin != "" {
		r.record(ctx, "info", "decoder", "changes are decoded by "+plugin, reason)
	}
	return nil
}

// copy performs the full phase.
func (r *runner) copy(ctx context.Context) error {
	if r.task.State == catalog.StateStarting {
		r.fire(ctx, catalog.EventFullBegun, catalog.Change{})
	}
	if earlier := r.figures.copied(); len(earlier) > 0 && !r.incremental() {
		r.record(ctx, "warning", "several snapshots", "the full synchronization goes on under a later snapshot than it began with, so its tables show different moments",
			"Copied before: "+strings.Join(earlier, ", ")+". If the source was written to meanwhile, compare, or begin anew.")
	}
	r.figures.phase(phaseNameFull)
	slot, publication := r.notes.Slot, r.notes.Publication
	if !r.incremental() {
		slot, publication = "", ""
	}
	r.figures.silence()
	r.figures.employ(workers(r.options.CopyWorkers))
	g, copying := group.WithContext(ctx)
	done := make(chan struct{})
	cfg := r.copyConfig(slot, publication)
	if !r.selection.Accounts.None() {
		cfg.Roles = r.createRoles
	}
	var result fullcopy.Result
	g.Go(func() (err error) {
		defer close(done)
		result, err = fullcopy.Run(copying, cfg)
		return err
	})
	if r.task.State == catalog.StateFault && r.figures.awaitLife(copying, done) {
		r.fire(ctx, catalog.EventRecoveredFull, catalog.Change{})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if result.Unsettled {
		if err := r.streamTo(ctx, result.HighestLSN); err != nil {
			return err
		}
		return r.copy(ctx)
	}
	return r.note(context.WithoutCancel(ctx), func(n *notes) { n.Phase, n.CopiedAt = phaseIncremental, result.HighestLSN })
}

func (r *runner) copyConfig(slot, publication string) fullcopy.Config {
	return fullcopy.Config{
		Task:             r.id,
		Source:           r.source,
		Destination:      r.destination,
		Selection:        r.selection,
		Slot:             slot,
		Publication:      publication,
		Plugin:           r.notes.Plugin,
		Workers:          workers(r.options.CopyWorkers),
		IndexWorkers:     workers(r.options.IndexWorkers),
		SplitAbove:       int64(r.options.SplitTableAbove),
		Format:           fullcopy.Format(r.options.CopyFormat),
		ExistingObjects:  fullcopy.Existing(r.options.ExistingObjects),
		Conflicts:        fullcopy.Conflicts(r.options.FullConflicts),
		Indexes:          r.options.SyncIndexes,
		PopulateMatviews: r.options.PopulateMatviews,
		LargeObjects:     r.options.LargeObjects,
		WorkDir:          r.cfg.WorkDir,
		Limiter:          r.limiter,
		Report:           r.figures,
		Logger:           r.log,
	}
}

// adopt makes the beginning of a stream into tables that the destination has already.
func (r *runner) adopt(ctx context.Context) error {
	r.figures.silence()
	result, err := fullcopy.Adopt(ctx, r.copyConfig(r.notes.Slot, r.notes.Publication))
	if err != nil {
		return err
	}
	r.record(ctx, "info", "stream begins", "what is committed in the source at "+result.HighestLSN.String()+" or later is applied; "+
		"the destination is taken to hold what was committed before", "")
	return r.note(context.WithoutCancel(ctx), func(n *notes) { n.Phase, n.CopiedAt = phaseIncremental, result.HighestLSN })
}

// workers is the number asked for, or one for each core of this machine, but not more than eight.
func workers(asked catalog.Count) int {
	if asked > 0 {
		return int(asked)
	}
	return min(max(runtime.NumCPU(), 2), 8)
}

// finishFull ends a task that has no stream.
func (r *runner) finishFull(ctx context.Context) error {
	switch r.task.State {
	case catalog.StateStarting:
		r.fire(ctx, catalog.EventFullBegun, catalog.Change{})
	case catalog.StateFault:
		r.fire(ctx, catalog.EventRecoveredFull, catalog.Change{})
	default:
	}
	if r.task.State == catalog.StateFull {
		r.fire(ctx, catalog.EventFullDone, catalog.Change{})
	}
	if err := r.carryMemberships(ctx); err != nil {
		return err
	}
	if err := r.eraseLedger(ctx); err != nil {
		return err
	}
	r.figures.completed()
	r.fire(ctx, catalog.EventCompleted, catalog.Change{
		Message: "the full synchronization is complete", Compare: []catalog.CompareRun{{Type: "OBJECTS"}, {Type: "ROWS"}},
	})
	return nil
}

// follow streams changes until ctx ends or a fault.
func (r *runner) follow(ctx context.Context) error {
	st, err := r.newStream()
	if err != nil {
		return err
	}
	g, ctx := group.WithContext(ctx)
	done := make(chan struct{})
	g.Go(func() error { defer close(done); return st.Run(ctx) })
	r.stream.Store(st)
	defer r.stream.Store(nil)
	if r.figures.awaitLife(ctx, done) {
		// Units may have been copied at different positions; only past the highest do they fit together.
		if st.Applied() < r.notes.CopiedAt && r.task.State != catalog.StateFull {
			r.fire(ctx, catalog.EventFullBegun, catalog.Change{})
		}
		if st.WaitApplied(ctx, r.notes.CopiedAt) == nil {
			r.figures.phase(phaseNameIncremental)
			switch r.task.State {
			case catalog.StateIncremental: // as before the daemon or the settings changed
			case catalog.StateModifying:
				r.fire(ctx, catalog.EventModified, catalog.Change{})
			default:
				r.fire(ctx, catalog.EventIncrementalBegun, catalog.Change{})
			}
		}
	}
	return g.Wait()
}

func (r *runner) newStream() (*incremental.Stream, error) {
	r.figures.silence()
	r.figures.employ(int(r.options.ApplyWorkers))
	return incremental.New(r.streamConfig())
}

func (r *runner) streamConfig() incremental.Config {
	return incremental.Config{
		Task:        r.task.ID,
		Source:      r.source,
		Destination: r.destination,
		Slot:        r.notes.Slot,
		Publication: r.notes.Publication,
		Plugin:      r.notes.Plugin,
		Selection:   r.selection,
		Policy:      r.options.ConflictPolicy,
		Append:      r.appends(),
		Heartbeat:   r.options.HeartbeatInterval,
		SpillDir:    r.cfg.spillDir(),
		Workers:     int(r.options.ApplyWorkers),
		Meter:       &r.figures.meter,
		Report:      reporter{r},
		Logger:      r.log,
		Elsewhere:   r.notes.Elsewhere,
		Notice: func(ctx context.Context, event, message, detail string) {
			r.record(ctx, catalog.LevelWarning, event, message, detail)
		},
	}
}

// eraseLedger removes what the task wrote about itself into the destination.
func (r *runner) eraseLedger(ctx context.Context) error {
	conn, err := r.destination.Connect(ctx, r.application("destination"))
	if err != nil {
		return err
	}
	defer endpoint.CloseConn(ctx, conn)
	return ledger.Erase(ctx, conn, r.task.ID)
}

func (r *runner) application(side string) string {
	return "pgsyncd " + r.inUse.Load().Name + " " + side
}

// createDatabase makes the destination database, with the encoding and locale of the source's, where it is missing.
func createDatabase(ctx context.Context, source, destination *endpoint.Endpoint) error {
	existing, err := destination.Connect(ctx, "pgsyncd create database")
	if err == nil {
		endpoint.CloseConn(ctx, existing)
		return nil
	}
	if endpoint.Diagnose(err).Code != "3D000" { // invalid_catalog_name: it does not exist
		return err
	}
	src, err := source.Connect(ctx, "pgsyncd create database")
	if err != nil {
		return err
	}
	defer endpoint.CloseConn(ctx, src)
	var encoding, collate, ctype string
	if err := src.QueryRow(ctx, `SELECT pg_catalog.pg_encoding_to_char(encoding), datcollate, datctype
		FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()`).Scan(&encoding, &collate, &ctype); err != nil {
		return fmt.Errorf("read encoding of the source database: %w", err)
	}
	dst, err := destination.WithDatabase("postgres").Connect(ctx, "pgsyncd create database")
	if err != nil {
		return err
	}
	defer endpoint.CloseConn(ctx, dst)
	name := destination.Database()
	var create string
	if err := dst.QueryRow(ctx, `SELECT pg_catalog.format('CREATE DATABASE %I TEMPLATE template0 ENCODING %L LC_COLLATE %L LC_CTYPE %L',
		$1::text, $2::text, $3::text, $4::text)`, name, encoding, collate, ctype).Scan(&create); err != nil {
		return fmt.Errorf("create database %s: %w", name, err)
	}
	if _, err := dst.Exec(ctx, create); err != nil {
		return fmt.Errorf("create database %s: %w", name, err)
	}
	return nil
}
