package sync

import (
	"context"
	"time"

	"pgsyncd/sync/schema"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
)

const watchEvery = 2 * time.Second

// strangersEvery is how often the source is searched for tables that the task does not have.
const strangersEvery = time.Minute

// watchSource keeps the figures of the source's WAL fresh until ctx ends: its end and what the slot retains of it. The
// stream itself does not know these, and they matter most when it cannot connect.
func (r *runner) watchSource(ctx context.Context) {
	var conn *pgx.Conn
	var query string
	var searched time.Time
	told := map[schema.Name]bool{}
	defer func() {
		if conn != nil {
			closeConn(ctx, conn)
		}
	}()
	for {
		var err error
		if conn == nil {
			conn, query, err = r.connectWatch(ctx)
		}
		if err == nil {
			err = r.look(ctx, conn, query)
		}
		if err == nil && time.Since(searched) >= strangersEvery {
			searched = time.Now()
			err = r.findStrangers(ctx, conn, told)
		}
		if err != nil && ctx.Err() == nil {
			r.log.Debug("watch source", "error", err)
			if conn != nil {
				closeConn(ctx, conn)
				conn = nil
			}
		}
		if !pause(ctx, watchEvery) {
			return
		}
	}
}

func (r *runner) look(ctx context.Context, conn *pgx.Conn, query string) error {
	var end string
	var confirmed *string
	var retained *int64
	if err := conn.QueryRow(ctx, query, r.notes.Slot).Scan(&end, &confirmed, &retained); err != nil {
		return err
	}
	position, err := pglogrepl.ParseLSN(end)
	if err != nil {
		return err
	}
	var flushed *pglogrepl.LSN
	if confirmed != nil {
		lsn, err := pglogrepl.ParseLSN(*confirmed)
		if err != nil {
			return err
		}
		flushed = &lsn
	}
	r.figures.source(position, flushed, retained)
	return nil
}

// findStrangers warns, once for each, of tables that were created after the task began. Partitions join with their tree.
func (r *runner) findStrangers(ctx context.Context, conn *pgx.Conn, told map[schema.Name]bool) error {
	inv, err := schema.Read(ctx, conn, r.selection)
	if err != nil {
		return err
	}
	known := r.figures.known()
	for _, t := range inv.Tables {
		if t.Kind == schema.KindPartitioned || t.Partition || known[t.Name] || told[t.Name] {
			continue
		}
		told[t.Name] = true
		r.record(ctx, "warning", "table not synchronized", "table "+t.Name.String()+" does not belong to the task, so its rows are not synchronized",
			"A table that was created or renamed after a task began does not join it. Create it in the destination, then: CREATE SYNC TASK … FOR ( TABLE "+t.Name.String()+" ) … WITH ( existing_objects = 'use' ).")
	}
	return nil
}

func (r *runner) connectWatch(ctx context.Context) (*pgx.Conn, string, error) {
	conn, err := r.source.Connect(ctx, r.application("watch"))
	if err != nil {
		return nil, "", err
	}
	version, err := schema.ServerVersion(ctx, conn)
	if err != nil {
		closeConn(ctx, conn)
		return nil, "", err
	}
	return conn, watchQuery(version), nil
}

func watchQuery(version int) string {
	current, diff, confirmed := "pg_current_wal_lsn", "pg_wal_lsn_diff", "s.confirmed_flush_lsn"
	if version < 100000 {
		current, diff = "pg_current_xlog_location", "pg_xlog_location_diff"
	}
	if version < 90600 {
		confirmed = "NULL::pg_lsn"
	}
	return `SELECT w.lsn::text, ` + confirmed + `::text, pg_catalog.` + diff + `(w.lsn, s.restart_lsn)::bigint
		FROM (SELECT pg_catalog.` + current + `() AS lsn) w
		LEFT JOIN pg_catalog.pg_replication_slots s ON s.slot_name = $1`
}
