package compare

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pgsyncd/catalog"
	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// rounds is how often a table whose two sides differ is read again because it was changing.
const rounds = 6

// job is one run in progress. Its fields do not change once its workers run.
type job struct {
	*Service
	run                 *catalog.CompareRun
	options             catalog.CompareOptions
	task                catalog.Task
	still               string // why a difference may be one of time, when no stream is running
	stream              Stream // nil when none is running
	source, destination *endpoint.Endpoint
	application         string
	leaves              map[schema.Name][]schema.Name // partitions below a partitioned table
}

// sides is one connection to either side.
type sides struct {
	source, destination *pgx.Conn
	hash                string // SQL that hashes one bytea, the same on both servers
}

func (j *job) connect(ctx context.Context) (*sides, error) {
	src, err := j.source.Connect(ctx, j.application)
	if err != nil {
		return nil, err
	}
	s := &sides{source: src}
	if s.destination, err = j.destination.Connect(ctx, j.application); err != nil {
		s.close(ctx)
		return nil, err
	}
	if j.run.Type == TypeValues {
		if s.hash, err = commonHash(ctx, s.source, s.destination); err != nil {
			s.close(ctx)
			return nil, err
		}
	}
	return s, nil
}

func (s *sides) broken() bool { return s.source.IsClosed() || s.destination.IsClosed() }

func (s *sides) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	for _, c := range []*pgx.Conn{s.source, s.destination} {
		if c != nil {
			_ = c.Close(ctx) // it only read
		}
	}
}

// pairs lists what is compared: ordinary tables and, for a tree of partitions, its root, because the two sides may be
// partitioned differently.
func (j *job) pairs(ctx context.Context) ([]schema.Table, error) {
	var selection schema.Selection
	if err := json.Unmarshal(j.task.Definition, &selection); err != nil {
		return nil, fmt.Errorf("read selection of task %s: %w", j.task.Name, err)
	}
	conn, err := j.source.Connect(ctx, j.application)
	if err != nil {
		return nil, err
	}
	defer (&sides{source: conn}).close(ctx)
	inv, err := schema.Read(ctx, conn, selection)
	if err != nil {
		return nil, err
	}
	j.leaves = map[schema.Name][]schema.Name{}
	var pairs []schema.Table
	for _, t := range inv.Tables {
		j.leaves[t.Root] = append(j.leaves[t.Root], t.Name)
		if t.Root == t.Name {
			pairs = append(pairs, t)
		}
	}
	if j.run.Tables == nil {
		return pairs, nil
	}
	wanted := pairs[:0]
	for _, name := range j.run.Tables {
		i := slices.IndexFunc(inv.Tables, func(t schema.Table) bool { return t.Name.String() == name })
		if i < 0 {
			return nil, fmt.Errorf("table %s does not belong to task %s", name, j.task.Name)
		}
		wanted = append(wanted, inv.Tables[i])
	}
	return wanted, nil
}

// table compares one table until the result is certain.
func (j *job) table(ctx context.Context, s *sides, t schema.Table) (catalog.CompareTable, error) {
	result := catalog.CompareTable{SourceTable: t.Name.String(), DestinationTable: t.Name.String()}
	if j.options.MaxTableRows > 0 && j.run.Schedule != "" && t.Rows > j.options.MaxTableRows {
		result.Result, result.Remarks = ResultUndecided, fmt.Sprintf("not counted: about %d rows, more than max_table_rows", t.Rows)
		return result, nil
	}
	query := j.query(s, t)
	for range rounds {
		before := j.changes(t)
		a, err := measure(ctx, s.source, query)
		if err != nil {
			return result, fmt.Errorf("read %s in the source: %w", t.Name, err)
		}
		b, err := measure(ctx, s.destination, query)
		if missing(err) {
			result.SourceRows, result.Result, result.Remarks = &a.rows, ResultDifferent, "the destination has no such table or column: "+err.Error()
			return result, nil
		}
		if err != nil {
			return result, fmt.Errorf("read %s in the destination: %w", t.Name, err)
		}
		result.SourceRows, result.DestinationRows = &a.rows, &b.rows
		switch {
		case a == b:
			result.Result = ResultEqual
			return result, nil
		case j.stream == nil && j.still == "":
			result.Result = ResultDifferent
			return result, nil
		case j.stream == nil:
			result.Result, result.Remarks = ResultUndecided, j.still
			return result, nil
		}
		if err := j.catchUp(ctx, s.source); err != nil {
			return result, err
		}
		if j.changes(t) == before {
			result.Result = ResultDifferent
			return result, nil
		}
	}
	result.Result = ResultUndecided
	result.Remarks = fmt.Sprintf("rows were changing in each of %d attempts; compare again when the table is quieter", rounds)
	return result, nil
}

// catchUp waits until the destination has everything the source has committed so far.
func (j *job) catchUp(ctx context.Context, source *pgx.Conn) error {
	lsn, err := schema.WALEnd(ctx, source)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, max(j.options.MaxDelay, time.Second),
		fmt.Errorf("the stream did not reach %s within %s", lsn, j.options.MaxDelay))
	defer cancel()
	if err := j.stream.WaitApplied(ctx, lsn); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return err
	}
	return nil
}

// changes adds up the stream's counters of a table and of all its partitions.
func (j *job) changes(t schema.Table) int64 {
	if j.stream == nil {
		return 0
	}
	if t.Root != t.Name {
		return j.stream.Changes(t.Name)
	}
	var n int64
	for _, leaf := range j.leaves[t.Name] {
		n += j.stream.Changes(leaf)
	}
	return n
}

// missing reports that a relation or column does not exist.
func missing(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && slices.Contains([]string{"42P01", "42703", "3F000"}, pg.Code)
}

// figure is what is known of one side of a table; two equal figures mean equal tables.
type figure struct {
	rows int64
	sum  string // of the rows' hashes; empty when rows are only counted
}

func measure(ctx context.Context, conn *pgx.Conn, query string) (figure, error) {
	var f figure
	err := conn.QueryRow(ctx, query, pgx.QueryExecModeSimpleProtocol).Scan(&f.rows, &f.sum)
	return f, err
}

// query reads a table's figure. Rows of tables that inherit from it belong to those.
func (j *job) query(s *sides, t schema.Table) string {
	from := t.Name.String()
	if t.Kind == schema.KindTable {
		from = "ONLY " + from
	}
	if j.run.Type == TypeRows {
		return "SELECT pg_catalog.count(*), '' FROM " + from
	}
	images := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		images[i] = image(c)
	}
	row := fmt.Sprintf("pg_catalog.record_send(ROW(%s))", strings.Join(images, ", "))
	return fmt.Sprintf("SELECT pg_catalog.count(*), coalesce(pg_catalog.sum(%s), 0)::text FROM %s", fmt.Sprintf(s.hash, row), from)
}
