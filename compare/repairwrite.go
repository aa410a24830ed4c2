package compare

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"pgsyncd/catalog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// manner is how rows that differ are written.
type manner string

const (
	inPlace  manner = "in place" // by updates
	replaced manner = "replaced" // all are deleted before the first is inserted, so that their keys may go round
)

// failures is how many rows of a table may fail before the others are given up as well.
const failures = 20

// write does the steps, and reports whether any was done. A row that cannot be written fails; the others are written without it.
func (u *unit) write(ctx context.Context, steps []*step) (bool, error) {
	how := inPlace
	for failed := 0; len(steps) > 0; {
		why := ""
		switch {
		case failed > failures:
			why = "not repaired: too many other rows of the table failed"
		case failed > 0 && u.key == nil: // what is extra may be another form of what failed
			why = "not repaired: another row of the table failed, and without a key it cannot be told whether they belong together"
		}
		if why != "" {
			for _, st := range steps {
				st.done, st.outcome = "", why
			}
			return false, nil
		}
		culprit, cause, err := u.attempt(ctx, steps, how)
		switch {
		case err != nil:
			return false, err
		case culprit == nil:
			for _, st := range steps {
				st.outcome = catalog.OutcomeRepaired
			}
			return true, nil
		}
		if pg, ok := errors.AsType[*pgconn.PgError](cause); ok && how == inPlace && strings.HasPrefix(pg.Code, "23") {
			how = replaced
			continue
		}
		failed++
		culprit.done, culprit.outcome = "", "failed: "+message(cause)
		steps = slices.DeleteFunc(steps, func(st *step) bool { return st == culprit })
	}
	return false, nil
}

func message(err error) string {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case !ok:
		return err.Error()
	case pg.Detail != "":
		return fmt.Sprintf("%s (%s): %s", pg.Message, pg.Code, pg.Detail)
	}
	return fmt.Sprintf("%s (%s)", pg.Message, pg.Code)
}

// errReadBack is the cause of a row that is not, after it was written, what was written.
var errReadBack = errors.New("the row reads back differently: a trigger of the destination has changed it, or a rule or default")

// attempt does the steps. If one of them fails, the table is left as it was.
func (u *unit) attempt(ctx context.Context, steps []*step, how manner) (culprit *step, cause, err error) {
	conn := u.sides.destination.PgConn()
	if _, err := conn.Exec(ctx, "SAVEPOINT repair").ReadAll(); err != nil {
		return nil, nil, err
	}
	culprit, cause = u.execute(ctx, steps, how)
	if culprit == nil && cause == nil {
		culprit, cause = u.readBack(ctx, steps)
	}
	if culprit == nil && cause == nil {
		culprit, cause = u.checkUnique(ctx, steps)
	}
	end := "RELEASE SAVEPOINT repair"
	if cause != nil {
		end = "ROLLBACK TO SAVEPOINT repair; RELEASE SAVEPOINT repair"
	}
	if conn.IsClosed() || ctx.Err() != nil || cause != nil && culprit == nil {
		return nil, nil, errors.Join(context.Cause(ctx), cause)
	}
	_, err = conn.Exec(ctx, end).ReadAll()
	return culprit, cause, err
}

// piece is a statement of a step.
type piece struct {
	st *step
	*statement
}

// execute sends the statements of all steps in an order that frees a key before it is taken.
func (u *unit) execute(ctx context.Context, steps []*step, how manner) (*step, error) {
	var order [3][]piece
	for _, st := range steps {
		plan := u.plan(st, how)
		for _, s := range plan {
			order[s.rank] = append(order[s.rank], piece{st, s})
		}
		st.done = printed(plan)
	}
	const together = 100
	for part := range slices.Chunk(slices.Concat(order[:]...), together) {
		batch := &pgconn.Batch{}
		for _, p := range part {
			batch.ExecParams(p.sql.String(), p.args, nil, nil, nil)
		}
		results := u.sides.destination.PgConn().ExecBatch(ctx, batch)
		n := 0
		var cause error
		for ; cause == nil && results.NextResult(); n++ {
			tag, err := results.ResultReader().Close()
			if cause = err; err == nil && tag.RowsAffected() != 1 {
				cause = fmt.Errorf("the statement met %d rows", tag.RowsAffected())
			}
			if cause != nil {
				break
			}
		}
		if err := results.Close(); cause == nil {
			cause = err
		}
		if cause != nil {
			return part[min(n, len(part)-1)].st, cause
		}
	}
	return nil, nil
}

// readBack finds a step whose row still differs.
func (u *unit) readBack(ctx context.Context, steps []*step) (*step, error) {
	var f lookFor
	for _, st := range steps {
		if !slices.Contains(f.suspects, st.of) {
			f.suspects = append(f.suspects, st.of)
		}
	}
	source, err := u.lookSource(ctx, f)
	if err != nil {
		return nil, err
	}
	destination, err := u.lookDestination(ctx, f)
	if err != nil {
		return nil, err
	}
	for _, s := range f.suspects {
		if ids(source[s.text]) != s.noted[0] {
			continue // changed since; what was there is what was written
		}
		left, right := unequal(source[s.text], destination[s.text])
		undone := 0
		for _, st := range s.steps {
			if !slices.Contains(steps, st) {
				undone++
			}
		}
		if max(len(left), len(right)) > s.more+undone {
			i := slices.IndexFunc(steps, func(st *step) bool { return st.of == s })
			return steps[i], errReadBack
		}
	}
	return nil, nil
}

// checkUnique finds a step whose row violates a deferrable constraint.
func (u *unit) checkUnique(ctx context.Context, steps []*step) (*step, error) {
	for _, names := range u.target.deferrable {
		query := u.uniqueQuery(names)
		for _, st := range steps {
			if st.from == nil {
				continue
			}
			row, err := json.Marshal([]map[string]*string{st.from.row})
			if err != nil {
				return nil, err
			}
			result := u.sides.destination.PgConn().ExecParams(ctx, query, [][]byte{row}, nil, nil, nil).Read()
			if result.Err != nil {
				return nil, result.Err
			}
			if len(result.Rows) > 1 {
				return st, fmt.Errorf("rows with the same values in %s would violate a deferrable constraint", strings.Join(names, ", "))
			}
		}
	}
	return nil, nil
}

// uniqueQuery gives one row for every row of the table that has the values of a row, which is given as JSON, in some columns.
func (u *unit) uniqueQuery(names []string) string {
	var joins []string
	for i, name := range names {
		name = pgx.Identifier{name}.Sanitize()
		join := "t." + name + " = k." + name
		if !u.target.column(names[i]).plain { // its operator may be one that only a search_path finds
			join = "ROW(t." + name + ")::text = ROW(k." + name + ")::text AND t." + name + " IS NOT NULL"
		}
		joins = append(joins, join)
	}
	return "SELECT 1 FROM " + u.target.from(u.pair.target) + " AS t, pg_catalog.json_populate_recordset(NULL::" + u.pair.target.String() + ", $1) AS k WHERE " +
		strings.Join(joins, " AND ") + " LIMIT 2"
}
