package compare

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pgsyncd/catalog"
	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"
)

const (
	// rounds is how often a table whose two sides differ is read again because it was changing.
	rounds = 6
	// writersPatience bounds the wait for transactions that were changing a table.
	writersPatience = time.Second
)

// table compares one table until the result is certain.
func (j *job) table(ctx context.Context, s *sides, t schema.Table) (catalog.CompareTable, error) {
	result := catalog.CompareTable{SourceTable: t.Name.String(), DestinationTable: t.Name.String()}
	if j.options.MaxTableRows > 0 && j.run.Type == TypeRows && j.run.Schedule != "" && t.Rows > j.options.MaxTableRows {
		result.Result, result.Remarks = ResultUndecided, fmt.Sprintf("not counted: about %d rows, more than max_table_rows", t.Rows)
		return result, nil
	}
	for round := range rounds {
		certain, err := j.round(ctx, s, t, round > 0, &result)
		if certain || err != nil {
			return result, err
		}
	}
	result.Result = ResultUndecided
	result.Remarks = fmt.Sprintf("in each of %d attempts rows were changing or a transaction that changes them was open; "+
		"compare again when the table is quieter", rounds)
	return result, nil
}

// round reads both sides once. It fills in the result and reports whether that is certain.
func (j *job) round(ctx context.Context, s *sides, t schema.Table, patient bool, result *catalog.CompareTable) (bool, error) {
	stream, still, err := j.standing(ctx)
	if err != nil {
		return false, err
	}
	settled, before := true, int64(0)
	if stream != nil {
		if err := j.yield(ctx, stream, s.source); err != nil {
			return false, err
		}
		before = j.changes(stream, t)
		if settled, err = j.settle(ctx, s.source, t, patient); err != nil {
			return false, err
		}
	}
	source, destination, err := j.measure(ctx, s, t)
	if missing, ok := errors.AsType[*missingError](err); ok {
		result.SourceRows, result.Result, result.Remarks = &source.rows, ResultDifferent, missing.Error()
		return true, nil
	}
	if err != nil {
		return false, err
	}
	result.SourceRows, result.DestinationRows = &source.rows, &destination.rows
	switch {
	case source == destination:
		result.Result = ResultEqual
		if j.run.Type == TypeRows && stream != nil && j.changes(stream, t) != before {
			result.Remarks = "rows were changing while they were counted"
		}
		return true, nil
	case still != "":
		result.Result, result.Remarks = ResultUndecided, still
		return true, nil
	case !s.floats && j.run.Type == TypeValues && slices.ContainsFunc(t.Columns, asText):
		result.Result, result.Remarks = ResultUndecided, "the servers' versions write floating point numbers inside values of user-defined types differently"
		return true, nil
	case stream != nil:
		if passed, err := j.follow(ctx, stream, s.source, 0); err != nil || !passed || !settled || j.changes(stream, t) != before {
			return false, err
		}
	}
	result.Result = ResultDifferent
	return true, nil
}

// changes adds up the stream's counters of a table and of its partitions.
func (j *job) changes(stream Stream, t schema.Table) int64 {
	var n int64
	for _, part := range j.trees[t.Name] {
		n += stream.Changes(part.Name)
	}
	return n
}

// writersSQL lists the transactions that may have changed one of the tables. Everybody may read pg_locks.
const writersSQL = `SELECT DISTINCT l.virtualtransaction FROM pg_catalog.pg_locks l
	WHERE l.locktype = 'relation' AND l.granted AND l.mode IN ('RowExclusiveLock', 'AccessExclusiveLock') AND l.relation = ANY ($1)
	AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())`

// settle reports whether no transaction that was changing the table when it was called is still unfinished. If patient, it
// waits a while for those that are.
func (j *job) settle(ctx context.Context, conn *pgx.Conn, t schema.Table, patient bool) (bool, error) {
	var oids []uint32
	for _, part := range j.trees[t.Name] {
		oids = append(oids, part.OID)
	}
	deadline := time.Now().Add(writersPatience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var first []string
	for attempt := 0; ; attempt++ {
		rows, err := conn.Query(ctx, writersSQL, oids)
		if err != nil {
			return false, fmt.Errorf("read locks of %s: %w", t.Name, err)
		}
		writers, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return false, fmt.Errorf("read locks of %s: %w", t.Name, err)
		}
		if attempt == 0 {
			first = writers
		}
		if !slices.ContainsFunc(writers, func(w string) bool { return slices.Contains(first, w) }) {
			return true, nil
		}
		if !patient || time.Now().After(deadline) {
			return false, nil
		}
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// figure is what is known of one side of a table; two equal figures mean equal tables.
type figure struct {
	rows int64
	sum  string // of the rows' hashes; empty when rows are only counted
}

// missingError says that the destination lacks a table or column of the source.
type missingError struct{ what string }

func (e *missingError) Error() string { return "the destination has no such " + e.what }

// measure reads both sides at once.
func (j *job) measure(ctx context.Context, s *sides, t schema.Table) (source, destination figure, err error) {
	kind, err := relkind(ctx, s.destination, t.Name)
	if err != nil {
		return source, destination, fmt.Errorf("find %s in the destination: %w", t.Name, err)
	}
	var g errgroup.Group // without a context: cancelling the other side would cost its connection
	g.Go(func() (err error) {
		if source, err = read(ctx, s.source, j.query(s, t, t.Kind)); err != nil {
			return fmt.Errorf("read %s in the source: %w", t.Name, err)
		}
		return nil
	})
	if kind == 0 {
		if err = g.Wait(); err == nil {
			err = &missingError{"table"}
		}
		return source, destination, err
	}
	g.Go(func() (err error) {
		destination, err = read(ctx, s.destination, j.query(s, t, kind))
		if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == "42703" {
			return &missingError{"column: " + pg.Message}
		}
		if err != nil {
			return fmt.Errorf("read %s in the destination: %w", t.Name, err)
		}
		return nil
	})
	err = g.Wait()
	return source, destination, err
}

// relkind is the pg_class.relkind of a relation, 0 when there is none.
func relkind(ctx context.Context, conn *pgx.Conn, name schema.Name) (byte, error) {
	var kind string
	err := conn.QueryRow(ctx, `SELECT c.relkind::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = $1 AND c.relname = $2`, name.Schema, name.Name).Scan(&kind)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return kind[0], nil
}

func read(ctx context.Context, conn *pgx.Conn, query string) (figure, error) {
	var f figure
	err := conn.QueryRow(ctx, query, pgx.QueryExecModeSimpleProtocol).Scan(&f.rows, &f.sum)
	return f, err
}

// query reads a table's figure. Rows of tables that inherit from it belong to those.
func (j *job) query(s *sides, t schema.Table, kind byte) string {
	from := t.Name.String()
	if kind != schema.KindPartitioned {
		from = "ONLY " + from
	}
	if j.run.Type == TypeRows {
		return "SELECT pg_catalog.count(*), '' FROM " + from
	}
	return "SELECT pg_catalog.count(*), coalesce(pg_catalog.sum(" + fmt.Sprintf(s.hash, image(t.Columns)) + "), 0)::text FROM " + from
}
