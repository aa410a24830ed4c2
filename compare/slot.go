package compare

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/schema"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// slotPatience bounds the creation of a slot, which waits for the transactions in progress; slotImpatience does after an attempt that
	// has failed.
	slotPatience, slotImpatience = 3 * time.Minute, 5 * time.Second
	// settlePatience bounds the wait for transactions that have committed and are not visible yet.
	settlePatience = 10 * time.Second
)

// export creates a slot that lives as long as the session, or until that executes something else. It returns the slot's position, and the
// snapshot that shows exactly the transactions whose commit records start before it. The plugin has no part in that.
func (j *job) export(ctx context.Context, sender *pgconn.PgConn, control *pgx.Conn, patience time.Duration) (pglogrepl.LSN, string, error) {
	limit := strconv.FormatInt(patience.Milliseconds(), 10)
	if _, err := sender.Exec(ctx, "SET lock_timeout = "+limit).ReadAll(); err != nil { // for a server that loses its client
		return 0, "", fmt.Errorf("create slot: %w", err)
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	name := fmt.Sprintf("pgsyncd_compare_%d_%d", j.run.ID, sender.PID())
	type answer struct {
		pglogrepl.CreateReplicationSlotResult
		err error
	}
	answered := make(chan answer, 1)
	go func() {
		slot, err := pglogrepl.CreateReplicationSlot(limited, sender, name, "pgoutput", pglogrepl.CreateReplicationSlotOptions{
			Temporary: true, SnapshotAction: "EXPORT_SNAPSHOT",
		})
		answered <- answer{slot, err}
	}()
	blockers := ""
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case a := <-answered:
			if a.err == nil {
				lsn, err := pglogrepl.ParseLSN(a.ConsistentPoint)
				return lsn, a.SnapshotName, err
			}
			expired := limited.Err() != nil || endpoint.SQLState(a.err) == "55P03"
			if expired {
				a.err = &obstacle{why: "transactions are in progress for long: " + blockers}
				if err := terminate(ctx, control, sender.PID()); err != nil {
					return 0, "", err
				}
			}
			return 0, "", obstruct(ctx, "create slot", a.err)
		case <-tick.C:
			if names, err := blockersOf(ctx, control, sender.PID()); err == nil && names != "" {
				blockers = names
			}
		}
	}
}

// terminate ends a walsender that may be waiting: it does not notice that its client has gone.
func terminate(ctx context.Context, control *pgx.Conn, pid uint32) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settlePatience)
	defer cancel()
	if _, err := control.Exec(ctx, "SELECT pg_catalog.pg_terminate_backend($1)", int32(pid)); err != nil {
		return fmt.Errorf("end the session that creates a slot: %w", err)
	}
	return nil
}

// blockersOf names the transactions that a session waits for. Everybody may read pg_locks; prepared ones have no session.
func blockersOf(ctx context.Context, conn *pgx.Conn, pid uint32) (names string, err error) {
	err = conn.QueryRow(ctx, `SELECT coalesce(pg_catalog.string_agg(DISTINCT coalesce('session ' || h.pid, 'a prepared transaction'), ', '), '')
		FROM pg_catalog.pg_locks w JOIN pg_catalog.pg_locks h ON h.locktype = 'transactionid' AND h.transactionid = w.transactionid AND h.granted
		WHERE w.pid = $1 AND w.locktype = 'transactionid' AND NOT w.granted`, int32(pid)).Scan(&names)
	return names, err
}

// settled waits until no transaction that the snapshot of conn shows is in progress. What is in progress now is asked of sender, whose
// snapshot has served its purpose.
func settled(ctx context.Context, conn *pgx.Conn, sender *pgconn.PgConn) error {
	version, err := schema.ServerVersion(ctx, conn)
	if err != nil {
		return err
	}
	sql, err := schema.SettledSQL(ctx, conn, version)
	if err != nil {
		return err
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(settlePatience); ; {
		results, err := sender.Exec(ctx, sql).ReadAll()
		switch {
		case err != nil:
			return err
		case len(results) == 1 && len(results[0].Rows) == 1 && string(results[0].Rows[0][0]) == "t":
			return nil
		case time.Now().After(deadline):
			return &obstacle{why: "transactions have committed and wait for a synchronous standby"}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
