package compare

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pgsyncd/catalog"
	"pgsyncd/sync/ledger"
	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
)

const (
	// rounds is how often a table whose two sides differ is read again because it was changing.
	rounds = 6
	// writersPatience bounds the wait for transactions that were changing a table.
	writersPatience = time.Second
)

// table compares one pair until the result is certain.
func (j *job) table(ctx context.Context, s *sides, p pair) (catalog.CompareTable, error) {
	result := catalog.CompareTable{SourceTable: p.name(), DestinationTable: p.target.String()}
	var rows int64
	for _, t := range p.sources {
		rows += t.Rows
	}
	if j.options.MaxTableRows > 0 && j.run.Type == TypeRows && j.run.Schedule != "" && rows > j.options.MaxTableRows {
		result.Result, result.Remarks = ResultUndecided, fmt.Sprintf("not counted: about %d rows, more than max_table_rows", rows)
		return result, nil
	}
	for round := range rounds {
		certain, err := j.round(ctx, s, p, round > 0, &result)
		if certain && err == nil {
			err = j.explain(ctx, s, p, &result)
		}
		if certain || err != nil {
			return result, err
		}
	}
	result.Result, result.RowsMissing, result.RowsExtra, result.RowsDifferent = ResultUndecided, nil, nil, nil
	result.Remarks = fmt.Sprintf("in each of %d attempts rows were changing or a transaction that changes them was open; "+
		"compare again when the table is quieter", rounds)
	if why := j.freezer.obstacle(); why != "" {
		result.Remarks += "; the two sides could not be read at one position: " + why
	}
	return result, nil
}

// round reads both sides once. It fills in the result and reports whether that is certain.
func (j *job) round(ctx context.Context, s *sides, p pair, patient bool, result *catalog.CompareTable) (bool, error) {
	if s.spoilt() {
		if err := s.leave(ctx); err != nil {
			return false, err
		}
	}
	stream, still, err := j.standing(ctx)
	if err != nil {
		return false, err
	}
	if stream != nil {
		if err := j.yield(ctx, stream, s.source); err != nil {
			return false, err
		}
	}
	frozen, err := j.frozen(ctx, stream, s, p)
	if err != nil {
		return false, err
	}
	if frozen { // both sides stand still
		stream, still = nil, ""
		defer s.unanchor(ctx)
	}
	settled, before := true, int64(0)
	if stream != nil {
		before = j.changes(stream, p)
		if settled, err = j.settle(ctx, s.source, p, patient); err != nil {
			return false, err
		}
	}
	parts := j.parts(p)
	common, others := columns(parts)
	source, destination, err := j.measure(ctx, s, p, parts, common)
	if missing, ok := errors.AsType[*missingError](err); ok {
		result.SourceRows, result.Result, result.Remarks = &source.total.rows, ResultDifferent, missing.Error()
		if own := p.sources[0].Name; missing.what == "table" && j.top(own) != own {
			result.Result = ResultUndecided
			result.Remarks = "the destination has the rows of this partition in another table; compare " + j.top(own).String()
		}
		return true, nil
	}
	if frozen && outdated(err) {
		return false, s.leave(ctx)
	}
	if err != nil {
		return false, err
	}
	result.SourceRows, result.DestinationRows = &source.total.rows, &destination.total.rows
	switch {
	case source.total == destination.total:
		result.Result = ResultEqual
		switch {
		case j.run.Type == TypeRows && stream != nil && j.changes(stream, p) != before:
			result.Remarks = "rows were changing while they were counted"
		case j.run.Type == TypeValues && others != nil:
			result.Remarks = "not compared, because not every table of the source has it: " + quoted(others)
		}
		return true, nil
	case p.apart != nil:
		result.Result = ResultUndecided
		result.Remarks = "the destination's table has the rows of " + enumerate(p.apart) + " as well; many_to_one compares their sum"
		return true, nil
	case still != "":
		result.Result, result.Remarks = ResultUndecided, still
		return true, nil
	case !s.floats && j.run.Type == TypeValues && slices.ContainsFunc(common, func(c column) bool { return c.text }):
		result.Result, result.Remarks = ResultUndecided, "the servers' versions write floating point numbers inside values of user-defined types differently"
		return true, nil
	case stream != nil && j.changes(stream, p) != before:
		return false, nil
	}
	if j.run.Type == TypeValues { // while what it reads is known to be what was measured
		if some, err := j.locate(ctx, source, destination, result); err != nil || !some {
			return false, err
		}
	}
	if stream != nil {
		if passed, err := j.follow(ctx, stream, s.source, 0); err != nil || !passed || !settled || j.changes(stream, p) != before {
			return false, err
		}
	}
	result.Result = ResultDifferent
	return true, nil
}

// changes adds up the stream's counters of the source tables and of their partitions.
func (j *job) changes(stream Stream, p pair) int64 {
	var n int64
	for _, t := range p.sources {
		for _, part := range j.trees[t.Name] {
			n += stream.Changes(part.Name)
		}
	}
	return n
}

// writersSQL lists the transactions that may have changed one of the tables. Everybody may read pg_locks.
const writersSQL = `SELECT DISTINCT l.virtualtransaction FROM pg_catalog.pg_locks l
	WHERE l.locktype = 'relation' AND l.granted AND l.mode IN ('RowExclusiveLock', 'AccessExclusiveLock') AND l.relation = ANY ($1)
	AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())`

// settle reports whether no transaction that was changing the tables when it was called is still unfinished. If patient, it
// waits a while for those that are.
func (j *job) settle(ctx context.Context, conn *pgx.Conn, p pair, patient bool) (bool, error) {
	var oids []uint32
	for _, t := range p.sources {
		for _, part := range j.trees[t.Name] {
			oids = append(oids, part.OID)
		}
	}
	deadline := time.Now().Add(writersPatience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var first []string
	for attempt := 0; ; attempt++ {
		rows, err := conn.Query(ctx, writersSQL, oids)
		if err != nil {
			return false, fmt.Errorf("read locks of %s: %w", p.name(), err)
		}
		writers, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return false, fmt.Errorf("read locks of %s: %w", p.name(), err)
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

// explain adds to a difference what is known to cause one.
func (j *job) explain(ctx context.Context, s *sides, p pair, result *catalog.CompareTable) error {
	if result.Result == ResultEqual && j.run.Type == TypeRows {
		shared, err := j.shared(ctx, s.destination, p.target)
		if err == nil && shared {
			result.Result, result.Remarks = ResultUndecided, "the destination's table has rows of others as well, which are counted with it: equal counts do not tell that all of the task's are there"
		}
		return err
	}
	if result.Result != ResultDifferent || result.DestinationRows == nil {
		return nil
	}
	var remarks []string
	if result.Remarks != "" {
		remarks = append(remarks, result.Remarks)
	}
	tables, err := j.cfg.Catalog.Tables(ctx, j.task.ID)
	if err != nil {
		return err
	}
	var ignored int64
	for _, t := range tables {
		name := schema.Name{Schema: t.SourceSchema, Name: t.SourceTable}
		if slices.Contains(tableNames(p.sources), j.top(name)) {
			ignored += t.RowsIgnored
		}
	}
	if ignored > 0 {
		remarks = append(remarks, fmt.Sprintf("rows that the full phase left out because they collided with others (full_conflicts = ignore): %d", ignored))
	}
	shared, err := j.shared(ctx, s.destination, p.target)
	if err != nil {
		return err
	}
	if shared {
		remarks = append(remarks, "the destination's table has rows of others as well, which are counted with it")
		if !lacks(*result) {
			result.Result = ResultUndecided
			remarks[len(remarks)-1] += "; whether all of those that only the destination has are theirs is not known"
		}
	}
	result.Remarks = strings.Join(remarks, "; ")
	return nil
}

// lacks reports whether the destination certainly lacks rows of the source, or has others in their place, whatever else it has.
func lacks(t catalog.CompareTable) bool {
	if t.RowsMissing != nil && t.RowsDifferent != nil {
		return *t.RowsMissing+*t.RowsDifferent > 0
	}
	return *t.SourceRows > *t.DestinationRows
}

// top is the topmost table of the tree that a table of the source belongs to.
func (j *job) top(name schema.Name) schema.Name {
	if top, ok := j.tops[name]; ok {
		return top
	}
	return name
}

// shared reports whether a table of the destination is known to have rows that are not the task's: the task was to add its rows to
// what was there, or another one did.
func (j *job) shared(ctx context.Context, conn *pgx.Conn, table schema.Name) (bool, error) {
	options, err := catalog.ParseTaskOptions(j.task.Options)
	if err != nil {
		return false, err
	}
	if options.ExistingObjects == "append" {
		return true, nil
	}
	if kind, _, err := relation(ctx, conn, schema.Name{Schema: ledger.Schema, Name: "objects"}); err != nil || kind == 0 {
		return false, err
	}
	var shared bool
	err = conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pgsyncd.objects o WHERE o.task <> $1::uuid AND o.key = $2)`,
		j.task.ID, ledger.ClaimPrefix+table.String()).Scan(&shared)
	if err != nil {
		return false, fmt.Errorf("read claims on %s in the destination: %w", table, err)
	}
	return shared, nil
}
