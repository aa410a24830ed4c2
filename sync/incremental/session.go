package incremental

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"pgsyncd/sync/ledger"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	flushBytes    = 64 << 10 // written to the destination at once
	maxStatements = 1000     // prepared in the destination at most
)

// session is the connection that applies. It owns the transaction's outer shape and the prepared statements; it is used by
// one goroutine.
type session struct {
	conn     *pgx.Conn
	pg       *pgconn.PgConn
	task     string
	position ledger.Position // LSN: as the ledger holds it, committed
	version  int             // server_version_num
	prepared map[string]*statement
	names    int

	begin, hold, advance, commit, rollback, savepoint, release, undo *statement
}

// statement is one that is prepared when it is first used.
type statement struct {
	sql   string
	types []uint32 // of the parameters; nil: as the server infers
	name  string   // "" until the server has it
}

// openDestination connects, makes the session one that applies, and takes the task over: from here on no earlier owner can
// commit.
func openDestination(ctx context.Context, cfg Config) (_ *session, err error) {
	conn, err := cfg.Destination.Connect(ctx, "pgsyncd "+cfg.Task+" apply")
	if err != nil {
		return nil, err
	}
	s := &session{conn: conn, pg: conn.PgConn(), task: cfg.Task, prepared: map[string]*statement{}}
	defer func() {
		if err != nil {
			s.close(ctx)
		}
	}()
	if err := s.setUp(ctx); err != nil {
		return nil, err
	}
	if s.position, err = ledger.Raise(ctx, conn, cfg.Task); err != nil {
		if errors.Is(err, ledger.ErrNoPosition) {
			return nil, permanentf("%w", err)
		}
		return nil, err
	}
	for st, sql := range map[**statement]string{
		&s.begin:     `BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE`,
		&s.hold:      ledger.HoldSQL,
		&s.advance:   ledger.AdvanceSQL,
		&s.commit:    `COMMIT`,
		&s.rollback:  `ROLLBACK`,
		&s.savepoint: `SAVEPOINT pgsyncd`,
		&s.release:   `RELEASE SAVEPOINT pgsyncd`,
		&s.undo:      `ROLLBACK TO SAVEPOINT pgsyncd`,
	} {
		*st = &statement{sql: sql, name: "pgsyncd_" + strconv.Itoa(s.names)}
		s.names++
		// At once: a transaction that has failed accepts no Parse.
		if _, err := s.pg.Prepare(ctx, (*st).name, sql, nil); err != nil {
			return nil, fmt.Errorf("prepare %s: %w", sql, err)
		}
	}
	return s, nil
}

// setUp makes this session one that replays: triggers and foreign keys do not fire, and a commit that returned is durable.
func (s *session) setUp(ctx context.Context) error {
	var version, role string
	err := s.conn.QueryRow(ctx, `SELECT current_setting('server_version_num'), current_setting('session_replication_role')`).Scan(&version, &role)
	if err != nil {
		return fmt.Errorf("look at destination: %w", err)
	}
	if s.version, err = strconv.Atoi(version); err != nil {
		return fmt.Errorf("look at destination: %w", err)
	}
	if role != "replica" {
		if _, err := s.conn.Exec(ctx, `SET session_replication_role = replica`); err != nil {
			err = fmt.Errorf("keep triggers of the destination from firing: %w", err)
			if sqlState(err) == "42501" {
				return wrappedPermanent{err}
			}
			return err
		}
	}
	if _, err := s.conn.Exec(ctx, `SET synchronous_commit = on`); err != nil {
		return fmt.Errorf("make commits durable: %w", err)
	}
	// The arrays of a set statement are unrolled into a tuple store; a batch's worth should not go through a file.
	if _, err := s.conn.Exec(ctx, `SET work_mem = '64MB'`); err != nil {
		return fmt.Errorf("raise work_mem: %w", err)
	}
	return nil
}

// statement returns the one with this text, which is prepared when it is first sent.
func (s *session) statement(sql string, types []uint32) *statement {
	if st := s.prepared[sql]; st != nil {
		return st
	}
	st := &statement{sql: sql, types: types}
	s.prepared[sql] = st
	return st
}

// forget drops prepared statements once there are too many. No transaction is open.
func (s *session) forget(ctx context.Context) (forgotten bool, err error) {
	if len(s.prepared) < maxStatements {
		return false, nil
	}
	for _, st := range s.prepared {
		if st.name == "" {
			continue
		}
		if err := s.pg.Deallocate(ctx, st.name); err != nil {
			return false, fmt.Errorf("forget statements: %w", err)
		}
	}
	clear(s.prepared)
	return true, nil
}

func (s *session) close(ctx context.Context) { closeRaw(ctx, s.pg) }

// failure is why a pipeline stopped: the statement with that origin failed (err) or affected another number of rows than it
// had to.
type failure struct {
	origin int
	rows   int64
	err    error // nil when only the number of rows is wrong
}

func (f *failure) Error() string {
	if f.err != nil {
		return f.err.Error()
	}
	return fmt.Sprintf("%d rows affected", f.rows)
}

// surprising reports whether another, more careful way of applying the same changes may succeed or tell what is wrong.
func (f *failure) surprising() bool {
	return f.err == nil || deterministic(f.err)
}

// Origins of statements that are not changes.
const (
	originFrame = -1 // BEGIN, COMMIT and the like
	originFence = -2 // hold and advance
)

const anyRows int64 = -1

// pipeline sends statements without waiting for their results. The first failure stops it: the server skips the rest.
type pipeline struct {
	s     *session
	p     *pgconn.Pipeline
	sent  []expectation
	bytes int
	fault error // of the connection
}

type expectation struct {
	prepare *statement // the answer to a Parse
	want    int64
	origin  int
}

func (s *session) start(ctx context.Context) *pipeline {
	return &pipeline{s: s, p: s.pg.StartPipeline(ctx)}
}

// run sends a statement whose values are in text format. args are not kept.
func (p *pipeline) run(st *statement, args [][]byte, want int64, origin int) {
	p.runFormats(st, args, nil, want, origin)
}

func (p *pipeline) runFormats(st *statement, args [][]byte, formats []int16, want int64, origin int) {
	if p.fault != nil {
		return
	}
	if st.name == "" {
		st.name = "pgsyncd_" + strconv.Itoa(p.s.names)
		p.s.names++
		p.p.SendPrepare(st.name, st.sql, st.types)
		p.sent = append(p.sent, expectation{prepare: st, origin: origin})
	}
	p.p.SendQueryPrepared(st.name, args, formats, nil)
	p.sent = append(p.sent, expectation{want: want, origin: origin})
	for _, a := range args {
		p.bytes += len(a) + 8
	}
	if p.bytes += 64; p.bytes >= flushBytes {
		p.bytes = 0
		p.fault = p.p.Flush()
	}
}

// open begins the transaction that applies, and makes sure of the task's row.
func (p *pipeline) open() {
	p.run(p.s.begin, nil, anyRows, originFrame)
	p.run(p.s.hold, p.s.fence(p.s.position.LSN), 1, originFence)
}

func (s *session) fence(lsns ...pglogrepl.LSN) [][]byte {
	args := [][]byte{[]byte(s.task), strconv.AppendInt(nil, s.position.Fence, 10)}
	for _, lsn := range lsns {
		args = append(args, []byte(lsn.String()))
	}
	return args
}

// wait reads all results. The error is a *failure for what the server made of a statement; any other means that the
// connection is lost.
func (p *pipeline) wait() error {
	if p.fault == nil {
		p.fault = p.p.Sync()
	}
	var first *failure
	if p.fault == nil {
		first, p.fault = p.results()
	}
	err := p.p.Close()
	if p.fault != nil {
		return p.fault
	}
	if first != nil {
		return first
	}
	return err
}

func (p *pipeline) results() (first *failure, err error) {
	next := 0
	for {
		result, err := p.p.GetResults()
		if err != nil {
			var pg *pgconn.PgError
			if !errors.As(err, &pg) {
				return nil, err
			}
			first = p.failed(first, next, err)
			continue
		}
		switch r := result.(type) {
		case *pgconn.StatementDescription:
			p.sent[next].prepare = nil
			next++
		case *pgconn.ResultReader:
			tag, err := r.Close()
			if err != nil {
				var pg *pgconn.PgError
				if !errors.As(err, &pg) {
					return nil, err
				}
				first = p.failed(first, next, err)
				continue
			}
			if e := p.sent[next]; first == nil && e.want != anyRows && tag.RowsAffected() != e.want {
				first = &failure{origin: e.origin, rows: tag.RowsAffected()}
			}
			next++
		case *pgconn.PipelineSync:
			return first, nil
		default:
			return nil, fmt.Errorf("pipeline: unexpected result %T", result)
		}
	}
}

// failed notes the statement whose answer is an error. What was to be prepared from there on is not.
func (p *pipeline) failed(first *failure, at int, err error) *failure {
	for _, e := range p.sent[at:] {
		if e.prepare != nil {
			e.prepare.name = ""
		}
	}
	if first != nil {
		return first
	}
	return &failure{origin: p.sent[at].origin, err: err}
}
