package compare

import (
	"context"
	"fmt"
	"time"

	"pgsyncd/catalog"
	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
)

// job is one run in progress. Its fields do not change once its workers run.
type job struct {
	*Service
	run                 *catalog.CompareRun
	options             catalog.CompareOptions
	task                catalog.Task
	source, destination *endpoint.Endpoint
	application         string
	sourcePace          *pace
	destinationPace     *pace
	brake               *brake
	freezer             *freezer
	done                *progress
	trees               map[schema.Name][]schema.Table // every table with its partitions
	gaps                bool                           // partitions may be missing in trees, because they are not selected
	tops                map[schema.Name]schema.Name    // the topmost selected table of every tree, by all tables in it
}

// sides is one connection to either side.
type sides struct {
	source, destination *pgx.Conn
	hash                string            // SQL that hashes one bytea, the same on both servers
	fields              map[uint32]string // what both servers hash alike without its being sent
	floats              bool              // the servers write floating point numbers alike
	moment              *moment           // that both show, in transactions; nil: there are none
}

func (j *job) connect(ctx context.Context) (_ *sides, err error) {
	s := &sides{}
	defer func() {
		if err != nil {
			s.close(ctx)
		}
	}()
	if s.source, err = j.source.Connect(ctx, j.application); err != nil {
		return nil, err
	}
	if s.destination, err = j.destination.Connect(ctx, j.application); err != nil {
		return nil, err
	}
	if j.run.Type == TypeRows {
		return s, nil
	}
	if err := endpoint.Verbatim(ctx, s.source.PgConn(), s.destination.PgConn()); err != nil {
		return nil, err
	}
	a, err := schema.ServerVersion(ctx, s.source)
	if err != nil {
		return nil, err
	}
	b, err := schema.ServerVersion(ctx, s.destination)
	if err != nil {
		return nil, err
	}
	s.floats = (a < 120000) == (b < 120000)
	if s.hash, err = commonHash(ctx, s.source, s.destination); err != nil {
		return nil, err
	}
	s.fields, err = commonFields(ctx, s.source, s.destination)
	return s, err
}

func (s *sides) broken() bool { return s.source.IsClosed() || s.destination.IsClosed() }

func (s *sides) close(ctx context.Context) {
	endpoint.CloseConn(ctx, s.source)
	endpoint.CloseConn(ctx, s.destination)
}

// standing returns the task's stream. Without one it tells why a difference may be one of time; an empty text then means that
// both sides stand on their own and any difference is real. Tasks whose data is not complete cannot be compared.
func (j *job) standing(ctx context.Context) (Stream, string, error) {
	task, err := j.cfg.Catalog.TaskByID(ctx, j.task.ID)
	if err != nil {
		return nil, "", err
	}
	switch task.State {
	case catalog.StateCompleted:
		return nil, "", nil
	case catalog.StateIncremental, catalog.StatePaused, catalog.StateIncrementalFailed, catalog.StateFault,
		catalog.StateStopping, catalog.StateCompleting, catalog.StateStoppingFailed:
		if st, ok := j.cfg.Streams.Stream(task.ID); ok {
			return st, "", nil
		}
		return nil, fmt.Sprintf("the task does not stream (%s), so later changes of the source are missing", task.State), nil
	default:
		return nil, "", fmt.Errorf("task %s is in state %q; its data is not complete yet", task.Name, task.State)
	}
}

// streams reports whether st is still the task's stream.
func (j *job) streams(st Stream) bool {
	now, ok := j.cfg.Streams.Stream(j.task.ID)
	return ok && now == st
}

// follow waits until everything the source has committed by now is in the destination. False means that the stream has ended or
// that this took longer than patience; 0 is endless.
func (j *job) follow(ctx context.Context, st Stream, source *pgx.Conn, patience time.Duration) (bool, error) {
	lsn, err := schema.WALEnd(ctx, source)
	if err != nil {
		return false, err
	}
	begun := time.Now()
	for j.streams(st) && (patience == 0 || time.Since(begun) < patience) {
		// A stream that has ended leaves its waiters waiting.
		try, cancel := context.WithTimeout(ctx, time.Second)
		err := st.WaitApplied(try, lsn)
		cancel()
		if err == nil {
			return true, nil
		}
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
	}
	return false, nil
}

// yield waits as long as the stream is more than max_delay behind.
func (j *job) yield(ctx context.Context, st Stream, source *pgx.Conn) error {
	for j.streams(st) {
		if near, err := j.follow(ctx, st, source, j.options.MaxDelay); near || err != nil {
			return err
		}
	}
	return nil
}
