package compare

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"pgsyncd/catalog"
	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/ledger"
	"pgsyncd/sync/schema"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
)

// Repair is what came of repairing a run, or of a dry run.
type Repair struct {
	Rows  []catalog.RepairRow // one per row that the run reported
	Notes []string            // what else there is to know
	Check int64               // run that compares the repaired tables again; 0 if nothing was repaired
}

// RefusedError says why a run cannot be repaired now.
type RefusedError struct{ Message, Detail, Hint string }

func (e *RefusedError) Error() string { return e.Message }

// Outcomes of rows that were not repaired. Those of a row that cannot be repaired begin with refused or failed.
const (
	outcomePlanned = "would be repaired"
	outcomeEqual   = "nothing to do: the row does not differ any more"
	outcomeMoved   = "not repaired: the row was changed meanwhile"
	outcomeBusy    = "not repaired: a transaction that was changing the table in the source had not ended"
)

// Versions are noted when the stream is near the end of the source's WAL, so that little happens between the two looks at a row: it has
// caught up within nearBy, or it is tried no longer.
const (
	nearBy          = 200 * time.Millisecond
	catchUpPatience = 10 * time.Second
)

// lockPatience bounds the wait for rows that others have locked in the destination.
const lockPatience = 10 * time.Second

// repair is one statement's worth of work.
type repair struct {
	*job
	sides   *sides
	dry     bool
	user    string
	units   []*unit
	stream  Stream   // nil: the task has ended
	number  int64    // of the repair in the catalog; 0 while nothing is recorded
	mark    string   // that its transaction leaves in the destination
	tables  []string // of the source, whose rows were repaired
	held    int64    // bytes of rows, about
	outcome Repair
}

// Repair gives the destination the rows of the source in place of those that a run reported as different, in one transaction. With dry it
// only tells the statements. It fails with a RefusedError where it would not be safe, and with catalog.ErrNotFound.
//
// A row is written only if it differs at a known position of the source, whatever happens meanwhile:
//
//   - At first, the versions (ctid and xmin) of every reported row are noted, in the destination, then in the source.
//   - Then the stream brings the destination up to what is now the end of the source's WAL and stands still. The transaction locks the task's row in
//     the ledger, which no transaction of the stream can commit without: from now on the destination holds exactly the commits before
//     some position that is not before that end.
//   - Transactions that may be in the WAL before that position, but are not visible yet, hold a lock on the table; they are waited for.
//   - The rows are read and locked again. Those whose versions are not the noted ones are left alone. A version of the source that was
//     there before the position and is there behind it is the row at that position; and so is its absence, if the destination's
//     version is older than the time when the source was first seen without it, because the stream has passed that.
//   - What was written is read back before the transaction is committed.
func (s *Service) Repair(ctx context.Context, id int64, user string, dry bool) (*Repair, error) {
	run, err := s.cfg.Catalog.Compare(ctx, id)
	if err != nil {
		return nil, err
	}
	r, err := s.newRepair(ctx, run)
	if err != nil {
		return nil, err
	}
	r.dry, r.user = dry, user
	if r.sides, err = r.connect(ctx); err != nil {
		return nil, err
	}
	defer r.sides.close(ctx)
	if err := s.guard(id, func() error { return r.all(ctx) }); err != nil {
		return nil, err
	}
	return &r.outcome, nil
}

// newRepair finds out whether a run can be repaired.
func (s *Service) newRepair(ctx context.Context, run catalog.CompareRun) (*repair, error) {
	task, err := s.cfg.Catalog.TaskByID(ctx, run.TaskID)
	if err != nil {
		return nil, err
	}
	name := pgx.Identifier{task.Name}.Sanitize()
	again := fmt.Sprintf("COMPARE SYNC TASK %s VALUES;", name)
	switch {
	case run.Type != TypeValues:
		return nil, &RefusedError{fmt.Sprintf("comparison %d cannot be repaired", run.ID), "It is of type " + run.Type + ", which does not tell rows.", again}
	case run.State == StateQueued || run.State == StateRunning:
		return nil, &RefusedError{fmt.Sprintf("comparison %d cannot be repaired yet", run.ID), "It is " + run.State + ".", "Wait until it is finished."}
	case run.State != StateFinished:
		return nil, &RefusedError{fmt.Sprintf("comparison %d cannot be repaired", run.ID), "It is " + run.State + ", so not every table was compared.", again}
	}
	stream, err := s.repairStream(task, name)
	if err != nil {
		return nil, err
	}
	options, err := catalog.ParseCompareOptions(run.Type, run.Options)
	if err != nil {
		return nil, err
	}
	source, destination, err := s.cfg.Endpoints(task)
	if err != nil {
		return nil, err
	}
	return &repair{stream: stream, job: &job{
		Service: s, run: &run, options: options, task: task, source: source, destination: destination,
		application: "pgsyncd " + task.Name + " repair",
	}}, nil
}

// repairStream is the stream that has to stand still, nil for a task that has ended.
func (s *Service) repairStream(task catalog.Task, name string) (Stream, error) {
	refused := &RefusedError{
		Message: fmt.Sprintf("task %s cannot be repaired now", name), Detail: fmt.Sprintf("The task is in state %q.", task.State),
		Hint: "Rows are repaired while the task is in incremental synchronization, or completed.",
	}
	switch task.State {
	case catalog.StateCompleted:
		return nil, nil
	case catalog.StateIncremental:
		if st, ok := s.cfg.Streams.Stream(task.ID); ok {
			return st, nil
		}
		refused.Detail, refused.Hint = "Its stream is just being started.", "Try again."
	case catalog.StatePaused, catalog.StateIncrementalFailed:
		refused.Hint = fmt.Sprintf("RESUME SYNC TASK %s; its stream brings the destination to a position at which rows can be repaired.", name)
	case catalog.StateFull, catalog.StateStarting:
		refused.Hint = fmt.Sprintf("WAIT FOR SYNC TASK %s CAUGHT UP; then compare again.", name)
	default:
	}
	return nil, refused
}

// all does the whole repair.
func (r *repair) all(ctx context.Context) error {
	if err := r.collect(ctx); err != nil || len(r.units) == 0 {
		return err
	}
	if r.stream == nil {
		r.outcome.Notes = append(r.outcome.Notes, "the task has ended: rows are compared with what the source has now")
		if err := r.note(ctx); err != nil {
			return err
		}
		return r.transact(ctx, nil)
	}
	if err := r.catchUp(ctx); err != nil {
		return err
	}
	if err := r.note(ctx); err != nil {
		return err
	}
	fence, release, err := r.standStill(ctx)
	if err != nil {
		return r.unsteady(ctx, err)
	}
	defer func() { _ = release() }() // the ledger's lock is what counts
	err = r.transact(ctx, &fence)
	if errors.Is(err, ledger.ErrFenced) {
		return r.unsteady(ctx, errors.New("the stream was started anew"))
	}
	return err
}

// catchUp waits until the stream is near the end of the source's WAL, but not for ever.
func (r *repair) catchUp(ctx context.Context) error {
	for begun, took := time.Now(), nearBy; took >= nearBy && time.Since(begun) < catchUpPatience; {
		last := time.Now()
		if _, err := r.follow(ctx, r.stream, r.sides.source, catchUpPatience); err != nil {
			return err
		}
		took = time.Since(last)
	}
	return nil
}

// standStill brings the destination up to the end of the source's WAL and keeps the stream there until release is called. It returns
// the fence of the task's row in the ledger.
func (r *repair) standStill(ctx context.Context) (fence int64, release func() error, err error) {
	const attempts = 3 // the stream goes on where it takes long to learn of the end of the WAL
	for range attempts {
		var reach func(context.Context, pglogrepl.LSN) (int64, error)
		if reach, release, err = r.stream.Hold(ctx); err != nil {
			return 0, nil, err
		}
		var end pglogrepl.LSN
		if end, err = schema.WALEnd(ctx, r.sides.source); err == nil {
			fence, err = reach(ctx, end)
		}
		if err == nil {
			return fence, release, nil
		}
		_ = release()
	}
	return 0, nil, err
}

// note notes the versions of all reported rows.
func (r *repair) note(ctx context.Context) error {
	for _, u := range r.units {
		held := r.held
		if err := u.note(ctx); err != nil {
			return err
		}
		r.held = held // of what was found only the versions are kept
	}
	return nil
}

// unsteady is that the stream did not stand still.
func (r *repair) unsteady(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return &RefusedError{
		fmt.Sprintf("task %s cannot be repaired now", pgx.Identifier{r.task.Name}.Sanitize()),
		fmt.Sprintf("Its stream did not stand still: %s. Nothing was changed.", err), "Look at the task's state, and try again.",
	}
}

// locked is that others use the rows, nil if it is something else.
func locked(err error) error {
	if endpoint.SQLState(err) == "55P03" {
		return &RefusedError{
			"rows to be repaired are locked in the destination",
			fmt.Sprintf("Another session held them for more than %s. Nothing was changed.", lockPatience), "Try again when it has ended.",
		}
	}
	return nil
}

// transact repairs in one transaction of the destination, during which no transaction of the stream can be committed there.
func (r *repair) transact(ctx context.Context, fence *int64) error {
	conn := r.sides.destination
	tx, err := conn.Begin(ctx)
	if err != nil {
		return fmt.Errorf("begin in the destination: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // after COMMIT nothing is left to undo
	settings := []string{fmt.Sprintf("SET LOCAL lock_timeout = %d", lockPatience.Milliseconds())}
	if !r.dry {
		settings = append(settings, "SET LOCAL session_replication_role = replica", "SET CONSTRAINTS ALL IMMEDIATE")
	}
	for _, sql := range settings {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s in the destination: %w", sql, err)
		}
	}
	// Repairs of a task wait for each other, those of a task without stream as well.
	if _, err := tx.Exec(ctx, "SELECT pg_catalog.pg_advisory_xact_lock"+turnKey, r.task.ID); err != nil {
		return cmp.Or(locked(err), fmt.Errorf("wait for another repair of task %s: %w", r.task.Name, err))
	}
	if fence != nil {
		if err := ledger.Check(ctx, tx, r.task.ID, *fence); err != nil {
			return orLocked(err)
		}
	}
	written, err := r.work(ctx)
	if err != nil {
		_, ended := r.end(ctx, false)
		return errors.Join(orLocked(err), ended)
	}
	if !written {
		return nil
	}
	return r.commit(ctx, tx)
}

// work deals with the rows of all tables and reports whether it has written any.
func (r *repair) work(ctx context.Context) (written bool, err error) {
	done := 0
	settled := make([]bool, len(r.units)) // all are waited for before the first is read
	for i, u := range r.units {
		settled[i] = r.stream == nil
		if r.stream != nil && u.refusal == "" {
			if settled[i], err = r.settle(ctx, r.sides.source, u.pair, true); err != nil {
				return false, err
			}
		}
	}
	for i, u := range r.units {
		held := r.held
		did, err := u.mend(ctx, settled[i])
		if err != nil {
			return false, err
		}
		if did {
			written = true
			for _, t := range u.pair.sources {
				r.tables = append(r.tables, t.Name.String())
			}
		}
		if err := r.record(ctx, u, written); err != nil {
			return false, err
		}
		r.held, u.suspects = held, nil
		for _, row := range r.outcome.Rows[done:] {
			if err := r.hold(map[string]*string{"": &row.Statement}); err != nil {
				return false, err
			}
		}
		done = len(r.outcome.Rows)
	}
	return written, nil
}

// record keeps what became of a unit's rows in the catalog, from the first unit on that has changed something.
func (r *repair) record(ctx context.Context, u *unit, written bool) (err error) {
	first := len(r.outcome.Rows)
	r.outcome.Rows = append(r.outcome.Rows, u.rows()...)
	if !written {
		return nil
	}
	if r.number == 0 {
		first = 0
		r.mark = rand.Text()
		if r.number, err = r.cfg.Catalog.BeginRepair(ctx, r.task.ID, r.run.ID, r.user, r.mark); err != nil {
			return err
		}
	}
	if err := r.cfg.Catalog.AddRepairRows(ctx, r.number, int64(first), r.outcome.Rows[first:]); err != nil {
		return err
	}
	for i := range r.outcome.Rows { // they may be large, and are kept now
		r.outcome.Rows[i].Before, r.outcome.Rows[i].After = nil, nil
	}
	return nil
}

// collect finds the tables with reported rows and what must be known of them.
func (r *repair) collect(ctx context.Context) error {
	results, err := r.cfg.Catalog.CompareTables(ctx, r.run.ID)
	if err != nil {
		return err
	}
	results = slices.DeleteFunc(results, func(t catalog.CompareTable) bool { return t.Result != ResultDifferent })
	if len(results) == 0 {
		return nil
	}
	pairs, err := r.pairs(ctx)
	if err != nil {
		return err
	}
	for _, result := range results {
		reported, err := r.reported(ctx, result.SourceTable)
		if err != nil {
			return err
		}
		r.remark(result, int64(len(reported)))
		if len(reported) == 0 {
			continue
		}
		u := &unit{repair: r, result: result}
		if i := slices.IndexFunc(pairs, func(p pair) bool { return p.name() == result.SourceTable }); i >= 0 {
			u.pair = pairs[i]
			err = u.describe(ctx)
		} else {
			u.refusal = "refused: the table does not belong to the task any more"
		}
		if err != nil {
			return err
		}
		u.suspect(reported)
		r.units = append(r.units, u)
	}
	return nil
}

// reported are the rows of a table that the run lists. Of what has a key no more than that is kept.
func (r *repair) reported(ctx context.Context, table string) (list []catalog.CompareRow, err error) {
	err = r.cfg.Catalog.EachCompareRow(ctx, r.run.ID, table, func(row catalog.CompareRow) error {
		if row.Key != nil {
			row.SourceRow, row.DestinationRow = nil, nil
		}
		list = append(list, row)
		return r.hold(row.Key, row.SourceRow, row.DestinationRow)
	})
	return list, err
}

// perRow and perValue are about what a row and each of its values take beside the text.
const perRow, perValue = 500, 100

// hold notes that rows are held in memory, and refuses those that are too many.
func (r *repair) hold(rows ...map[string]*string) error {
	for _, row := range rows {
		if row == nil {
			continue
		}
		r.held += perRow
		for _, v := range row {
			if r.held += perValue; v != nil {
				r.held += int64(len(*v))
			}
		}
	}
	if r.held <= r.cfg.Repair {
		return nil
	}
	return &RefusedError{
		fmt.Sprintf("comparison %d has more to be repaired than one transaction can", r.run.ID),
		fmt.Sprintf("The rows take more than %d MB of memory. Nothing was changed.", r.cfg.Repair>>20),
		fmt.Sprintf("Compare fewer tables at a time, or report fewer rows, and repair in turns: COMPARE SYNC TASK %s VALUES WITH (max_reported_rows = 100);",
			pgx.Identifier{r.task.Name}.Sanitize()),
	}
}

// remark notes what of a table cannot be repaired because it is not known.
func (r *repair) remark(t catalog.CompareTable, reported int64) {
	var all int64
	for _, n := range []*int64{t.RowsMissing, t.RowsExtra, t.RowsDifferent} {
		if n != nil {
			all += *n
		}
	}
	switch {
	case all > reported:
		r.outcome.Notes = append(r.outcome.Notes, fmt.Sprintf("%s: %d of the %d rows that differ were reported (max_reported_rows); "+
			"only these are dealt with, compare again for the others", t.SourceTable, reported, all))
	case reported == 0:
		r.outcome.Notes = append(r.outcome.Notes, fmt.Sprintf("%s differs, but no rows were reported: %s", t.SourceTable, t.Remarks))
	}
}
