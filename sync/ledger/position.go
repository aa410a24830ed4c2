package ledger

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

var (
	// ErrNoPosition reports that the destination has no progress row of the task, or no ledger at all.
	ErrNoPosition = errors.New("the destination holds no position of this task")
	// ErrFenced reports that the task has another owner by now, or that the position in the destination is not the one
	// its writer believed in. The writer must roll back, and connect anew to learn where the task stands.
	ErrFenced = errors.New("the task's position in the destination was taken over or has moved")
)

// Statements for writers that pipeline their transaction; each must affect exactly one row, else ErrFenced applies.
const (
	// HoldSQL locks the progress row; parameters: task, fence, expected position.
	HoldSQL = `SELECT 1 FROM pgsyncd.progress WHERE task = $1::uuid AND fence = $2::bigint AND lsn = $3::pg_lsn FOR UPDATE`
	// AdvanceSQL moves the position; parameters: task, fence, expected position, new position.
	AdvanceSQL = `UPDATE pgsyncd.progress SET lsn = $4::pg_lsn, updated_at = clock_timestamp()
		WHERE task = $1::uuid AND fence = $2::bigint AND lsn = $3::pg_lsn AND lsn <= $4::pg_lsn`
)

// Execer is the part of a connection or transaction that writes.
type Execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// Querier is the part of a connection or transaction that reads.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Position is a task's progress row.
type Position struct {
	Task     string
	Fence    int64
	Slot     string
	SystemID string // of the source cluster, as IDENTIFY_SYSTEM gives it
	Timeline int32  // of the source cluster
	LSN      pglogrepl.LSN
}

// Begin writes the first row of a task, creating the ledger if need be. A row left by an earlier run of a task that was
// reset is replaced together with its copied units, which belong to another slot; its fence goes on rising, so p.Fence
// is a lower bound. Objects stay known: they still exist. Only what was made out of rows is not, because other rows will come.
func Begin(ctx context.Context, conn *pgx.Conn, p Position) error {
	return BeginWith(ctx, conn, p, func(pgx.Tx) error { return nil })
}

// BeginWith is Begin in one transaction with what else is to be recorded.
func BeginWith(ctx context.Context, conn *pgx.Conn, p Position, record func(pgx.Tx) error) error {
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if err := ensure(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO pgsyncd.progress AS p (task, fence, slot, system_id, timeline, lsn)
			VALUES ($1::uuid, $2, $3, $4, $5, $6::text::pg_lsn)
			ON CONFLICT (task) DO UPDATE SET fence = greatest(p.fence + 1, excluded.fence), slot = excluded.slot,
				system_id = excluded.system_id, timeline = excluded.timeline, lsn = excluded.lsn, updated_at = clock_timestamp()`,
			p.Task, p.Fence, p.Slot, p.SystemID, p.Timeline, p.LSN.String()); err != nil {
			return err
		}
		if err := forgetRows(ctx, tx, p.Task); err != nil {
			return err
		}
		return record(tx)
	})
	if err != nil {
		return fmt.Errorf("begin ledger of task %s: %w", p.Task, err)
	}
	return nil
}

// Reset ends what a task had begun, in a way that its former owners cannot undo: its position belongs to no slot any more, and nothing
// counts as copied. Objects stay known, because they still exist. Begin starts anew. A database without a ledger is left alone.
func Reset(ctx context.Context, conn *pgx.Conn, task string) error {
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if err := lock(ctx, tx); err != nil {
			return err
		}
		if tables, err := existing(ctx, tx); err != nil || tables < 3 {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE pgsyncd.progress SET fence = fence + 1, slot = '', system_id = '', timeline = 0, lsn = '0/0',
			updated_at = clock_timestamp() WHERE task = $1::uuid`, task); err != nil {
			return err
		}
		return forgetRows(ctx, tx, task)
	})
	if err != nil {
		return fmt.Errorf("reset ledger of task %s: %w", task, err)
	}
	return nil
}

// forgetRows forgets what was copied and what was made out of rows.
func forgetRows(ctx context.Context, tx pgx.Tx, task string) error {
	if _, err := tx.Exec(ctx, `DELETE FROM pgsyncd.copied WHERE task = $1::uuid`, task); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `DELETE FROM pgsyncd.objects WHERE task = $1::uuid AND key LIKE ANY ($2)`, task,
		[]string{LargeObjects + "%", sourcePrefix + "%", publicationPrefix + "%", serverPrefix + "%", "STATISTICS OF %", "POPULATION OF %"})
	return err
}

// Read returns the task's row, ErrNoPosition if there is none.
func Read(ctx context.Context, q Querier, task string) (Position, error) {
	return scan(task, "read", q.QueryRow(ctx, `SELECT fence, slot, system_id, timeline, lsn::text
		FROM pgsyncd.progress WHERE task = $1::uuid`, task))
}

// Raise makes the caller the task's owner and returns the row with the new fence. It waits for transactions of earlier
// owners that hold the row; what it returns is final.
func Raise(ctx context.Context, conn *pgx.Conn, task string) (Position, error) {
	return scan(task, "raise fence of", conn.QueryRow(ctx, `UPDATE pgsyncd.progress
		SET fence = fence + 1, updated_at = clock_timestamp() WHERE task = $1::uuid
		RETURNING fence, slot, system_id, timeline, lsn::text`, task))
}

func scan(task, verb string, row pgx.Row) (Position, error) {
	p := Position{Task: task}
	var lsn string
	err := row.Scan(&p.Fence, &p.Slot, &p.SystemID, &p.Timeline, &lsn)
	if err == nil {
		p.LSN, err = pglogrepl.ParseLSN(lsn)
	}
	if pg := (*pgconn.PgError)(nil); errors.Is(err, pgx.ErrNoRows) || errors.As(err, &pg) && (pg.Code == "42P01" || pg.Code == "3F000") {
		err = ErrNoPosition
	}
	if err != nil {
		return Position{}, fmt.Errorf("%s ledger of task %s: %w", verb, task, err)
	}
	return p, nil
}

// Hold locks the task's row to the end of tx if fence and position are the expected ones, else fails with ErrFenced. It is
// the first statement of every transaction that applies changes.
func Hold(ctx context.Context, tx Execer, task string, fence int64, expected pglogrepl.LSN) error {
	return one(ctx, tx, "hold", HoldSQL, task, fence, expected.String())
}

// Advance moves the position from from to to, in the transaction that brings the rows.
func Advance(ctx context.Context, tx Execer, task string, fence int64, from, to pglogrepl.LSN) error {
	return one(ctx, tx, "advance", AdvanceSQL, task, fence, from.String(), to.String())
}

// Check fails with ErrFenced unless the fence is still the caller's. The row stays share-locked to the end of tx, so that
// several workers of one owner can check at once while a new owner has to wait for all of them.
func Check(ctx context.Context, tx Execer, task string, fence int64) error {
	return one(ctx, tx, "check", `SELECT 1 FROM pgsyncd.progress WHERE task = $1::uuid AND fence = $2::bigint FOR SHARE`, task, fence)
}

// one runs a statement that must meet exactly the one row of the task. Parameters go as text, as a pipeline sends them.
func one(ctx context.Context, tx Execer, verb, sql string, task string, args ...any) error {
	tag, err := tx.Exec(ctx, sql, append([]any{pgx.QueryExecModeExec, task}, args...)...)
	if err == nil && tag.RowsAffected() != 1 {
		err = ErrFenced
	}
	if err != nil {
		return fmt.Errorf("%s ledger of task %s: %w", verb, task, err)
	}
	return nil
}
