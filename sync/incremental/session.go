package incremental

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"pgsyncd/sync/endpoint"
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
	rows     map[*target]map[string]rowStatement // statements by what they are for
	args     [][]byte                            // scratch

	begin, hold, advance, commit, rollback, savepoint, release, undo *statement
}

// statement is one that is prepared when it is first used.
type statement struct {
	sql     string
	types   []uint32 // of the parameters; nil: as the server infers
	formats []int16  // of the parameters; nil: text
	once    bool     // it is planned for the values of each execution, and has no name
	name    string   // "" until the server has it

	sure   *statement // the same as a statement that fails unless it affects so many rows as its last parameter says; nil: not made yet
	strict bool       // it is such a one
}

// openDestination connects, makes the session one that applies, and takes the task over: from here on no earlier owner can
// commit.
func openDestination(ctx context.Context, cfg Config) (_ *session, err error) {
	s, err := openSession(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if s.position, err = ledger.Raise(ctx, s.conn, cfg.Task); err == nil {
		err = s.frame(ctx)
	}
	if err != nil {
		s.close(ctx)
		if errors.Is(err, ledger.ErrNoPosition) {
			return nil, permanentf("%w", err)
		}
		return nil, err
	}
	return s, nil
}

// openSession connects and makes the session one that applies.
func openSession(ctx context.Context, cfg Config) (*session, error) {
	conn, err := cfg.Destination.Connect(ctx, "pgsyncd "+cfg.Task+" apply")
	if err != nil {
		return nil, err
	}
	s := &session{conn: conn, pg: conn.PgConn(), task: cfg.Task, prepared: map[string]*statement{}, rows: map[*target]map[string]rowStatement{}}
	if err := s.setUp(ctx); err != nil {
		s.close(ctx)
		return nil, err
	}
	return s, nil
}

// frame prepares the statements around the changes, at once: a transaction that has failed accepts no Parse.
func (s *session) frame(ctx context.Context) error {
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
		var err error
		if *st, err = s.prepare(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

// prepare prepares a statement at once, and for good.
func (s *session) prepare(ctx context.Context, sql string) (*statement, error) {
	st := &statement{sql: sql, name: "pgsyncd_" + strconv.Itoa(s.names)}
	s.names++
	if _, err := s.pg.Prepare(ctx, st.name, sql, nil); err != nil {
		return nil, fmt.Errorf("prepare %s: %w", sql, err)
	}
	return st, nil
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
			if endpoint.SQLState(err) == "42501" {
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
	// Rows that change are mostly in memory: looking up thousands of them costs less than reading a table with millions.
	if _, err := s.conn.Exec(ctx, `SET random_page_cost = 1.1`); err != nil {
		return fmt.Errorf("set random_page_cost: %w", err)
	}
	// What a set statement is thought to cost has no bearing on whether compiling it pays.
	if s.version >= 110000 {
		if _, err := s.conn.Exec(ctx, `SET jit = off`); err != nil {
			return fmt.Errorf("turn jit off: %w", err)
		}
	}
	return nil
}

// statement returns the one with this text, which is prepared when it is first sent.
func (s *session) statement(sql string, types []uint32) *statement {
	key := sql
	if types != nil {
		key = fmt.Sprint(types, sql) // the types may change under a name
	}
	if st := s.prepared[key]; st != nil {
		return st
	}
	st := &statement{sql: sql, types: types}
	s.prepared[key] = st
	return st
}

// strict returns a statement as one that fails by itself unless it affects as many rows as its last parameter says.
func (s *session) strict(st *statement) *statement {
	if st.sure == nil {
		sql := "WITH t AS (" + st.sql + " RETURNING 1) SELECT 1 / (count(*) = $" + strconv.Itoa(len(st.types)+1) + ")::int FROM t"
		sure := &statement{sql: sql, types: append(slices.Clip(st.types), oidInt8), once: true}
		if !st.once {
			sure = s.statement(sql, sure.types)
		}
		if st.formats != nil {
			sure.formats = append(slices.Clip(st.formats), 0)
		}
		sure.strict, st.sure = true, sure
	}
	return st.sure
}

// keep notes a statement for changes of a target.
func (s *session) keep(t *target, key string, r rowStatement) {
	if s.rows[t] == nil {
		s.rows[t] = map[string]rowStatement{}
	}
	s.rows[t][key] = r
}

// forget drops prepared statements once there are too many. No transaction is open.
func (s *session) forget(ctx context.Context) error {
	if len(s.prepared) < maxStatements {
		return nil
	}
	for _, st := range s.prepared {
		if st.name == "" {
			continue
		}
		if err := s.pg.Deallocate(ctx, st.name); err != nil {
			return fmt.Errorf("forget statements: %w", err)
		}
	}
	clear(s.prepared)
	clear(s.rows)
	return nil
}

// end commits the transaction that advances the ledger to position to. When the answer is lost the outcome is unknown; the next
// owner reads it from the ledger.
func (s *session) end(ctx context.Context, to pglogrepl.LSN) error {
	result := s.pg.ExecPrepared(ctx, s.commit.name, nil, nil, nil).Read()
	if result.Err != nil {
		return fmt.Errorf("commit up to %s: %w", to, result.Err)
	}
	if tag := result.CommandTag.String(); tag != "COMMIT" {
		return fmt.Errorf("commit up to %s: the destination answered %s", to, tag)
	}
	return nil
}

func (s *session) close(ctx context.Context) { endpoint.Close(ctx, s.pg) }

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
	if f.rows == unknownRows {
		return "another number of rows affected"
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

// unknownRows stands for how many rows a strict statement affected. It fails with this SQLSTATE.
const (
	unknownRows    int64 = -1
	divisionByZero       = "22012"
)

// pipeline sends statements without waiting for their results. The first failure stops it: the server skips the rest.
type pipeline struct {
	s     *session
	p     *pgconn.Pipeline // nil: everything that was sent has been answered
	sent  []expectation
	bytes int
	sure  bool // every statement fails by itself unless it affects as many rows as it should
	first *failure
	fault error     // of the connection
	since time.Time // when the end of a transaction that is not the last one was answered
}

type expectation struct {
	prepare *statement // the answer to a Parse
	want    int64
	strict  bool // a division by zero says that it was another number
	sync    bool // the end of a transaction
	origin  int
}

func (s *session) start(ctx context.Context) *pipeline {
	return &pipeline{s: s, p: s.pg.StartPipeline(ctx)}
}

// run sends a statement. args are not kept.
func (p *pipeline) run(st *statement, args [][]byte, want int64, origin int) {
	if p.first != nil || p.fault != nil {
		return
	}
	if p.sure && want != anyRows {
		st, args, want = p.s.strict(st), append(args, strconv.AppendInt(nil, want, 10)), 1
	}
	if st.name == "" {
		if !st.once {
			st.name = "pgsyncd_" + strconv.Itoa(p.s.names)
			p.s.names++
		}
		p.p.SendPrepare(st.name, st.sql, st.types)
		p.sent = append(p.sent, expectation{prepare: st, origin: origin})
	}
	p.p.SendQueryPrepared(st.name, args, st.formats, nil)
	p.sent = append(p.sent, expectation{want: want, strict: st.strict, origin: origin})
	for _, a := range args {
		p.bytes += len(a) + 8
	}
	if p.bytes += 64; p.bytes >= flushBytes {
		p.bytes = 0
		p.fault = p.p.Flush()
	}
}

// sync has the server commit what no BEGIN came before, and go on after a failure.
func (p *pipeline) sync() {
	if p.first == nil && p.fault == nil {
		p.p.SendPipelineSync()
		p.sent = append(p.sent, expectation{sync: true})
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

// copy sends rows with COPY, which is no part of a pipeline: what was sent before is waited for, and so are the rows.
func (p *pipeline) copy(ctx context.Context, rows io.Reader, sql string, want int64, origin int) {
	p.finish()
	if p.first != nil || p.fault != nil {
		return
	}
	tag, err := p.s.pg.CopyFrom(ctx, rows, sql)
	switch pg := (*pgconn.PgError)(nil); {
	case errors.As(err, &pg):
		p.first = &failure{origin: origin, err: err}
	case err != nil:
		p.fault = err
	case tag.RowsAffected() != want:
		p.first = &failure{origin: origin, rows: tag.RowsAffected()}
	default:
		p.p = p.s.pg.StartPipeline(ctx)
	}
}

// wait reads all results. The error is a *failure for what the server made of a statement; any other means that the
// connection is lost.
func (p *pipeline) wait() error {
	p.finish()
	switch {
	case p.fault != nil:
		return p.fault
	case p.first != nil:
		return p.first
	}
	return nil
}

func (p *pipeline) finish() {
	if p.p == nil {
		return
	}
	p.sync()
	if p.fault == nil {
		p.fault = p.p.Flush()
	}
	if p.fault == nil {
		p.first, p.fault = p.results()
	}
	if err := p.p.Close(); p.fault == nil && p.first == nil {
		p.fault = err
	}
	p.p, p.sent = nil, p.sent[:0]
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
			for !p.sent[next].sync { // what was skipped
				next++
			}
			if next++; next == len(p.sent) {
				return first, nil
			}
			p.since = time.Now()
		default:
			return nil, fmt.Errorf("pipeline: unexpected result %T", result)
		}
	}
}

// failed notes the statement whose answer is an error. What was to be prepared from there on is not, up to where the server goes on.
func (p *pipeline) failed(first *failure, at int, err error) *failure {
	for _, e := range p.sent[at:] {
		if e.sync {
			break
		}
		if e.prepare != nil {
			e.prepare.name = ""
		}
	}
	switch e := p.sent[at]; {
	case first != nil:
		return first
	case e.sync: // the commit, or the server ends the session
		return &failure{origin: originFrame, err: err}
	case e.strict && endpoint.SQLState(err) == divisionByZero:
		return &failure{origin: e.origin, rows: unknownRows}
	default:
		return &failure{origin: e.origin, err: err}
	}
}
