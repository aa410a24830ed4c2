package fullcopy

import (
	"context"
	"fmt"
	"time"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/group"

	"github.com/jackc/pgx/v5"
)

const (
	// cleanupTimeout bounds what is done after the context has ended.
	cleanupTimeout = 20 * time.Second
	// cancelTimeout bounds the request to cancel a command.
	cancelTimeout = 3 * time.Second
	// pollInterval is the pause between two looks at something no server announces.
	pollInterval = 50 * time.Millisecond
)

// poll calls check until it reports true.
func poll(ctx context.Context, interval time.Duration, check func() (bool, error)) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		done, err := check()
		if err != nil || done {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// memorySQL gives a session that builds indexes or checks foreign keys more memory than servers allow by default, so that most
// need no files: all such sessions together as much as half of the server's buffers, at most 1 GB each, and never less
// than the server's own setting. Any user may set it.
const memorySQL = `
SELECT pg_catalog.set_config('maintenance_work_mem', greatest(m.setting::int8,
         least(1048576, b.setting::int8 * pg_catalog.current_setting('block_size')::int8 / 2048 / $1::int8))::text, false)
  FROM pg_catalog.pg_settings m, pg_catalog.pg_settings b
 WHERE m.name = 'maintenance_work_mem' AND b.name = 'shared_buffers'`

// connectDestination opens a session that writes. Where the role may, triggers and foreign keys do not fire in it.
func (j *job) connectDestination(ctx context.Context) (*pgx.Conn, error) {
	conn, err := j.cfg.Destination.Connect(ctx, j.cfg.application())
	if err != nil {
		return nil, err
	}
	_, err = conn.Exec(ctx, `SET check_function_bodies = off; SET default_tablespace = ''`, pgx.QueryExecModeSimpleProtocol)
	if err == nil {
		_, err = conn.Exec(ctx, `SET session_replication_role = replica`)
		if endpoint.SQLState(err) == "42501" {
			err = nil
		} else if err == nil {
			j.replica.Store(true)
		}
	}
	if err == nil {
		_, err = conn.Exec(ctx, memorySQL, j.cfg.IndexWorkers)
	}
	if err != nil {
		endpoint.CloseConn(ctx, conn)
		return nil, fmt.Errorf("prepare a session on the destination: %w", err)
	}
	return conn, nil
}

// connectBoth opens a session to each side. Those that were opened are returned with an error too.
func (j *job) connectBoth(ctx context.Context) (src, dst *pgx.Conn, err error) {
	g, connecting := group.WithContext(ctx)
	g.Go(func() (err error) {
		src, err = j.cfg.Source.Connect(connecting, j.cfg.application())
		return err
	})
	g.Go(func() (err error) {
		dst, err = j.connectDestination(connecting)
		return err
	})
	err = g.Wait()
	return src, dst, err
}

// abandon ends a session in an unknown state: its command is cancelled, and nothing more is read or written.
func abandon(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelTimeout)
	defer cancel()
	_ = conn.PgConn().CancelRequest(ctx) // the server notices the closed connection too, only later
	_ = conn.PgConn().Conn().Close()
	endpoint.CloseConn(ctx, conn)
}
