package fullcopy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/schema"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// copySlotSuffix makes the name of the slot whose only use is to export a snapshot, so that a leftover of one is found.
const copySlotSuffix = "_copy"

// snapshot is a state of the source that sessions can import while it is held.
type snapshot struct {
	name string
	// lsn is the consistent point of the slot that exported it: the snapshot shows exactly the transactions whose commit
	// record starts before it. 0 without a slot.
	lsn    pglogrepl.LSN
	system pglogrepl.IdentifySystemResult
	close  func(context.Context)
}

// exportPlain exports the snapshot of an ordinary transaction. It has no position.
func (j *job) exportPlain(ctx context.Context) (*snapshot, error) {
	conn, err := j.cfg.Source.Connect(ctx, j.cfg.application())
	if err != nil {
		return nil, err
	}
	s := &snapshot{close: func(ctx context.Context) { endpoint.CloseConn(ctx, conn) }}
	if _, err = conn.Exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); err == nil {
		err = conn.QueryRow(ctx, "SELECT pg_catalog.pg_export_snapshot()").Scan(&s.name)
	}
	if err != nil {
		s.close(ctx)
		return nil, fmt.Errorf("export snapshot: %w", err)
	}
	return s, nil
}

// exportSlot creates a slot and has it export the snapshot that belongs to its start. The session is then held idle: its
// next command would end the snapshot. The slot is the task's, or one that lives no longer than the snapshot.
func (j *job) exportSlot(ctx context.Context, slot string, permanent bool) (_ *snapshot, err error) {
	if err := j.dropSlot(ctx, slot); err != nil {
		return nil, err
	}
	conn, err := j.cfg.Source.ConnectReplication(ctx, j.cfg.application())
	if err != nil {
		return nil, err
	}
	s := &snapshot{close: func(ctx context.Context) { endpoint.Close(ctx, conn) }}
	if j.sourceVersion < 100000 && !permanent {
		s.close = func(ctx context.Context) {
			endpoint.Close(ctx, conn)
			j.discardSlot(ctx, slot, 0)
		}
	}
	if s.system, err = pglogrepl.IdentifySystem(ctx, conn); err != nil {
		endpoint.Close(ctx, conn)
		return nil, fmt.Errorf("identify the source: %w", err)
	}
	watch, stop := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() { defer close(watched); j.reportBlockers(watch, conn.PID()) }()
	err = s.create(ctx, conn, j.createSlotSQL(slot, permanent))
	stop()
	<-watched
	if err != nil {
		j.discardSlot(ctx, slot, conn.PID())
		endpoint.Close(ctx, conn)
		return nil, fmt.Errorf("create slot %s: %w", slot, err)
	}
	j.log.Info("slot created", "slot", slot, "lsn", s.lsn.String())
	return s, nil
}

// createSlotSQL: before 10 there are no temporary slots, no pgoutput, and exporting is what creating does.
func (j *job) createSlotSQL(slot string, permanent bool) string {
	name := pgx.Identifier{slot}.Sanitize()
	switch {
	case j.sourceVersion < 100000:
		return "CREATE_REPLICATION_SLOT " + name + " LOGICAL test_decoding"
	case permanent:
		return "CREATE_REPLICATION_SLOT " + name + " LOGICAL " + j.cfg.Plugin + " EXPORT_SNAPSHOT"
	}
	return "CREATE_REPLICATION_SLOT " + name + " TEMPORARY LOGICAL " + j.cfg.Plugin + " EXPORT_SNAPSHOT"
}

// create runs the command, which returns slot_name, consistent_point, snapshot_name and output_plugin.
func (s *snapshot) create(ctx context.Context, conn *pgconn.PgConn, sql string) error {
	results, err := conn.Exec(ctx, sql).ReadAll()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return err
	case len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) != 4:
		return errors.New("the server's answer has another form than expected")
	}
	row := results[0].Rows[0]
	s.name = string(row[2])
	s.lsn, err = pglogrepl.ParseLSN(string(row[1]))
	return err
}

// blockersSQL finds the transactions a session waits for; prepared ones have no pid.
const blockersSQL = `
SELECT coalesce(h.pid, 0), coalesce(a.usename::text, ''), coalesce(extract(epoch FROM clock_timestamp() - a.xact_start)::bigint, 0)
  FROM pg_catalog.pg_locks w
  JOIN pg_catalog.pg_locks h ON h.locktype = w.locktype AND h.transactionid = w.transactionid AND h.granted
  LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = h.pid
 WHERE w.pid = $1 AND NOT w.granted AND w.locktype = 'transactionid'`

// reportBlockers tells what the creation of a slot waits for: every transaction that is older than its beginning.
func (j *job) reportBlockers(ctx context.Context, pid uint32) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var told []string
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		conn, err := j.cfg.Source.Connect(ctx, j.cfg.application())
		if err != nil {
			continue // the session that waits will notice, if it is more than a passing fault
		}
		blockers, err := blockersOf(ctx, conn, pid)
		endpoint.CloseConn(ctx, conn)
		if err != nil || slices.Equal(blockers, told) {
			continue
		}
		told = blockers
		phase := PhaseSnapshot
		if len(blockers) > 0 {
			phase += ": waiting for the end of " + strings.Join(blockers, ", ")
			j.log.Warn("slot creation waits for transactions", "transactions", strings.Join(blockers, ", "))
		}
		j.cfg.Report.Phase(phase, 0, 0)
	}
}

func blockersOf(ctx context.Context, conn *pgx.Conn, pid uint32) (blockers []string, err error) {
	rows, err := conn.Query(ctx, blockersSQL, pid)
	if err != nil {
		return nil, err
	}
	var holder int32
	var user string
	var seconds int64
	_, err = pgx.ForEachRow(rows, []any{&holder, &user, &seconds}, func() error {
		name := "a prepared transaction"
		if holder != 0 {
			name = "the transaction of pid " + strconv.Itoa(int(holder))
		}
		if user != "" {
			name += " (user " + user + ")"
		}
		blockers = append(blockers, name)
		return nil
	})
	slices.Sort(blockers)
	return blockers, err
}

// dropSlot drops a slot if there is one, ending a session that still uses it.
func (j *job) dropSlot(ctx context.Context, slot string) error {
	err := poll(ctx, pollInterval, func() (bool, error) {
		var active bool
		var pid *int32
		// 9.4 does not tell the pid.
		err := j.src.QueryRow(ctx, `SELECT s.active, (pg_catalog.to_json(s) ->> 'active_pid')::int FROM pg_catalog.pg_replication_slots s WHERE s.slot_name = $1`, slot).
			Scan(&active, &pid)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return true, nil
		case err != nil:
			return false, err
		case pid != nil:
			_, err := j.src.Exec(ctx, `SELECT pg_catalog.pg_terminate_backend($1)`, *pid)
			return false, err
		case active:
			return false, nil
		}
		_, err = j.src.Exec(ctx, `SELECT pg_catalog.pg_drop_replication_slot($1)`, slot)
		if code := endpoint.SQLState(err); code == "55006" || code == "42704" { // taken, or gone, since
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return fmt.Errorf("drop slot %s: %w", slot, err)
	}
	return nil
}

// discardSlot removes what a creation that was given up may have left. A walsender that waits for a transaction does not
// notice that its client is gone, so it is ended by name.
func (j *job) discardSlot(ctx context.Context, slot string, pid uint32) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	conn, err := j.cfg.Source.Connect(ctx, j.cfg.application())
	if err == nil {
		defer endpoint.CloseConn(ctx, conn)
		if pid != 0 {
			_, err = conn.Exec(ctx, `SELECT pg_catalog.pg_terminate_backend($1)`, pid)
		}
		if err == nil {
			err = (&job{cfg: j.cfg, src: conn}).dropSlot(ctx, slot)
		}
	}
	if err != nil {
		// The next attempt finds the slot by its name and drops it.
		j.log.Warn("slot of an interrupted attempt remains", "slot", slot, "error", err)
	}
}

// begin starts a transaction that sees the snapshot.
func (s *snapshot) begin(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
	if err == nil {
		_, err = conn.Exec(ctx, "SET TRANSACTION SNAPSHOT '"+strings.ReplaceAll(s.name, "'", "''")+"'")
	}
	if err != nil {
		return fmt.Errorf("import snapshot %s: %w", s.name, err)
	}
	return nil
}

// settle waits until no transaction that the snapshot shows is still in progress. conn must have imported the snapshot and read no table
// under it.
func (j *job) settle(ctx context.Context, conn *pgx.Conn) error {
	sql, err := schema.SettledSQL(ctx, conn, j.sourceVersion)
	if err != nil {
		return err
	}
	err = poll(ctx, pollInterval, func() (settled bool, err error) {
		err = j.src.QueryRow(ctx, sql).Scan(&settled)
		return settled, err
	})
	if err != nil {
		return fmt.Errorf("wait for the commits the snapshot shows: %w", err)
	}
	return nil
}
