package compare

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pgsyncd/catalog"
	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/ledger"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// commitPatience bounds the wait for the answer to COMMIT, which nothing else cuts short.
	commitPatience = time.Minute
	// learnPatience is for how long a repair whose COMMIT was not answered asks the destination what became of it. Then, or when the
	// daemon was killed meanwhile, Run asks, learnPause apart.
	learnPatience = 30 * time.Second
	learnPause    = 5 * time.Second
)

// turnKey is the advisory lock by which repairs of a task wait for each other. The parameter is the task.
const turnKey = "(pg_catalog.hashtext('pgsyncd repair'), pg_catalog.hashtext($1))"

// errNotEnded is that a repair has still its transaction.
var errNotEnded = errors.New("its transaction has not ended in the destination")

// commit commits what was repaired, with a mark in the destination that tells so.
func (r *repair) commit(ctx context.Context, tx pgx.Tx) error {
	err := r.cfg.Catalog.SetRepairTables(ctx, r.number, r.tables)
	if err == nil {
		err = ledger.MarkRepair(ctx, tx, r.task.ID, r.mark)
	}
	if err != nil {
		_, ended := r.end(ctx, false)
		return errors.Join(orLocked(err), ended)
	}
	conn := tx.Conn()
	patient, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitPatience)
	err = tx.Commit(patient)
	cancel()
	_, answered := errors.AsType[*pgconn.PgError](err)
	answered = (answered || errors.Is(err, pgx.ErrTxCommitRollback)) && !conn.IsClosed()
	var end catalog.RepairEnd
	switch {
	case answered:
		_, ended := r.end(ctx, false)
		return errors.Join(fmt.Errorf("commit in the destination: %w", err), ended)
	case err != nil:
		if end, err = r.insist(ctx, err); err != nil {
			return err
		}
	default:
		if end, err = r.end(ctx, true); err != nil {
			return fmt.Errorf("the rows were repaired, but that could not be recorded yet: %w", err)
		}
		if err := ledger.ForgetRepair(ctx, conn, r.task.ID, r.mark); err != nil { // it is in nobody's way
			r.cfg.Logger.Warn("a mark of a repair stays in the destination", "task", r.task.Name, "error", err)
		}
	}
	r.outcome.Check = end.Check
	r.Wake()
	repaired := 0
	for _, row := range r.outcome.Rows {
		if row.Outcome == catalog.OutcomeRepaired {
			repaired++
		}
	}
	return r.cfg.Catalog.Log(ctx, r.task.Name, "info", "rows repaired",
		fmt.Sprintf("comparison %d: %d rows repaired by %s", r.run.ID, repaired, r.user), "the rows as they were before are in sync_repairs")
}

// end records how the transaction ended, if anything is recorded of it.
func (r *repair) end(ctx context.Context, committed bool) (catalog.RepairEnd, error) {
	if r.number == 0 {
		return catalog.RepairEnd{}, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return r.cfg.Catalog.EndRepair(ctx, r.number, committed)
}

// insist asks the destination what became of a COMMIT that was not answered. An error says that nothing was changed, or that it is not
// known yet.
func (r *repair) insist(ctx context.Context, lost error) (catalog.RepairEnd, error) {
	asked, cancel := context.WithTimeout(ctx, learnPatience)
	defer cancel()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		end, err := r.learn(asked, r.task, catalog.OpenRepair{ID: r.number, Mark: r.mark})
		switch {
		case err == nil && end.Committed:
			return end, nil
		case err == nil:
			return end, fmt.Errorf("nothing was changed: the connection to the destination was lost before COMMIT took effect: %w", lost)
		}
		select {
		case <-asked.Done():
			return end, fmt.Errorf("the answer to COMMIT in the destination was lost (%w), and it could not be asked since whether that took effect (%w); "+
				"sync_repairs will tell of repair %d when it could", lost, err, r.number)
		case <-tick.C:
		}
	}
}

// learn finds out how the transaction of a repair ended, and records that. It fails with errNotEnded if it has not.
//
// The transaction has the task's turn, an advisory lock, from before the repair was recorded until it ends. So whoever gets the turn sees
// the mark if it was committed, and will never see it if it was not.
func (s *Service) learn(ctx context.Context, task catalog.Task, open catalog.OpenRepair) (end catalog.RepairEnd, err error) {
	_, destination, err := s.cfg.Endpoints(task)
	if err != nil {
		return end, err
	}
	conn, err := destination.Connect(ctx, "pgsyncd "+task.Name+" repair")
	if err != nil {
		return end, err
	}
	defer endpoint.CloseConn(ctx, conn)
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		var ours bool
		if err := tx.QueryRow(ctx, "SELECT pg_catalog.pg_try_advisory_xact_lock"+turnKey, task.ID).Scan(&ours); err != nil {
			return fmt.Errorf("wait for repair %d: %w", open.ID, err)
		}
		if !ours {
			return errNotEnded
		}
		committed, err := ledger.Repaired(ctx, tx, task.ID, open.Mark)
		if err != nil {
			return err
		}
		end, err = s.cfg.Catalog.EndRepair(ctx, open.ID, committed)
		return err
	})
	if err != nil {
		return catalog.RepairEnd{}, err
	}
	return end, ledger.ForgetRepair(ctx, conn, task.ID, open.Mark)
}

// learnAll finds out how repairs ended that a lost connection or a killed daemon left open, until ctx ends.
func (s *Service) learnAll(ctx context.Context) {
	tick := time.NewTicker(learnPause)
	defer tick.Stop()
	for {
		open, err := s.cfg.Catalog.OpenRepairs(ctx)
		if err != nil && ctx.Err() == nil {
			s.cfg.Logger.Warn("look for repairs that were left open", "error", err)
		}
		for _, o := range open {
			if err := s.learnLater(ctx, o); err != nil && ctx.Err() == nil && !errors.Is(err, errNotEnded) {
				s.cfg.Logger.Warn("find out how a repair ended", "repair", o.ID, "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// learnLater finds out how a repair ended that nobody waits for.
func (s *Service) learnLater(ctx context.Context, open catalog.OpenRepair) error {
	ctx, cancel := context.WithTimeout(ctx, learnPatience)
	defer cancel()
	task, err := s.cfg.Catalog.TaskByID(ctx, open.TaskID)
	if err != nil {
		return err
	}
	end, err := s.learn(ctx, task, open)
	if err != nil {
		return err
	}
	message := fmt.Sprintf("comparison %d: the repair by %s was rolled back", open.RunID, open.User)
	if end.Committed {
		message = fmt.Sprintf("comparison %d: the repair by %s was committed", open.RunID, open.User)
		s.Wake()
	}
	return s.cfg.Catalog.Log(ctx, task.Name, "warning", "outcome of a repair learnt", message, "the connection was lost during the repair, or the daemon ended; the rows are in sync_repairs")
}

// orLocked is that others use the rows, else the error itself.
func orLocked(err error) error {
	if refused := locked(err); refused != nil {
		return refused
	}
	return err
}
