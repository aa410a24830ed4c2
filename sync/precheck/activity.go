package precheck

import (
	"context"
	"fmt"
	"strings"
)

var activityChecks = []check{
	{"activity", "long transactions", source, streamed, longTransactions},
	{"activity", "prepared transactions", source, streamed, preparedTransactions},
	{"activity", "source connections", source, always, func(ctx context.Context, e *env) (finding, error) {
		return connections(ctx, e, &e.src)
	}},
	{"activity", "destination connections", destination, always, func(ctx context.Context, e *env) (finding, error) {
		return connections(ctx, e, &e.dst)
	}},
}

// longTransactions are those that have written and still run: a slot cannot be
// created before they end.
func longTransactions(ctx context.Context, e *env) (finding, error) {
	type session struct {
		PID        int32
		Age, Query string
	}
	list, err := read[session](ctx, &e.src, `SELECT pid, date_trunc('second', pg_catalog.clock_timestamp() - xact_start)::text,
			coalesce(pg_catalog.left(pg_catalog.regexp_replace(query, '\s+', ' ', 'g'), 100), '')
		FROM pg_catalog.pg_stat_activity
		WHERE pid <> pg_catalog.pg_backend_pid() AND backend_xid IS NOT NULL
			AND xact_start < pg_catalog.clock_timestamp() - interval '1 second' * $1::float8
		ORDER BY xact_start`, e.in.LongTransaction.Seconds())
	if err != nil {
		return finding{}, err
	}
	var found, fix []string
	for _, s := range list {
		found = append(found, fmt.Sprintf("pid %d for %s: %s", s.PID, s.Age, s.Query))
		fix = append(fix, fmt.Sprintf("SELECT pg_terminate_backend(%d);", s.PID))
	}
	if len(found) > 0 {
		return confirm("the slot can only be created once these transactions have ended: "+strings.Join(found, "; "),
			"Let them finish, or end them:\n"+statements(fix))
	}
	// Whose sessions are not the role's own are shown without their start; that
	// they have written is visible from their locks.
	hidden, err := column[int32](ctx, &e.src, `SELECT DISTINCT l.pid FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
		WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted AND a.xact_start IS NULL ORDER BY l.pid`)
	if err != nil {
		return finding{}, err
	}
	if len(hidden) > 0 {
		return finding{
			Passed, fmt.Sprintf("none of this role is older than %s; other roles have writing transactions whose age is hidden: pids %v",
				e.in.LongTransaction, hidden),
			fmt.Sprintf("To see them: GRANT pg_monitor TO %s;", ident(e.src.role)),
		}, nil
	}
	return passed("none that has written is older than %s", e.in.LongTransaction)
}

func preparedTransactions(ctx context.Context, e *env) (finding, error) {
	type prepared struct{ GID, Age string }
	list, err := read[prepared](ctx, &e.src, `SELECT gid, date_trunc('second', pg_catalog.clock_timestamp() - prepared)::text
		FROM pg_catalog.pg_prepared_xacts WHERE prepared < pg_catalog.clock_timestamp() - interval '1 second' * $1::float8 ORDER BY prepared`, e.in.LongTransaction.Seconds())
	if err != nil {
		return finding{}, err
	}
	var found, fix []string
	for _, p := range list {
		literal := "'" + strings.ReplaceAll(p.GID, "'", "''") + "'"
		found = append(found, fmt.Sprintf("%s for %s", literal, p.Age))
		fix = append(fix, fmt.Sprintf("COMMIT PREPARED %[1]s; or ROLLBACK PREPARED %[1]s;", literal))
	}
	if len(found) > 0 {
		return confirm("the slot can only be created once these prepared transactions have ended: "+enumerate(found), statements(fix))
	}
	return passed("none is older than %s", e.in.LongTransaction)
}

// sessions is how many of them the task has open at most. On the source: copying, the anchor's, the slot's, pg_dump's, what
// reads the structure and two that watch; on the destination: copying, indexes, the structure's, one that reminds the
// server of its log and one that writes what has become of it all, and after the copy one that applies, one that looks at standbys, and those that apply side by side.
func (e *env) sessions(s *side) int {
	if s == &e.src {
		return e.in.CopyWorkers + 6
	}
	copying, applying := e.in.CopyWorkers+e.in.IndexWorkers+3, 2
	if e.in.Adopt {
		copying = 0
	}
	if e.in.ApplyWorkers > 1 {
		applying += e.in.ApplyWorkers
	}
	if !e.in.Incremental {
		applying = 0
	}
	return max(copying, applying)
}

// connections compares the sessions the task needs with what server, database and
// role still allow.
func connections(ctx context.Context, e *env, s *side) (finding, error) {
	clients := "" // before 10 the view shows client sessions only
	if s.version >= 100000 {
		clients = " WHERE backend_type = 'client backend'"
	}
	reserved := "pg_catalog.current_setting('superuser_reserved_connections')::int"
	if s.version >= 160000 {
		reserved += " + pg_catalog.current_setting('reserved_connections')::int"
	}
	var free, roleLimit, roleUsed, databaseLimit, databaseUsed int
	err := s.conn.QueryRow(ctx, `SELECT pg_catalog.current_setting('max_connections')::int - (`+reserved+`)
			- (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity`+clients+`),
		(SELECT rolconnlimit FROM pg_catalog.pg_roles WHERE rolname = session_user),
		(SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity WHERE usename = session_user),
		(SELECT datconnlimit FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()),
		(SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity WHERE datname = pg_catalog.current_database())`).
		Scan(&free, &roleLimit, &roleUsed, &databaseLimit, &databaseUsed)
	if err != nil {
		return finding{}, err
	}
	need := e.sessions(s)
	found := fmt.Sprintf("the task needs %d sessions; ", need)
	switch {
	case free < need:
		return failed(fmt.Sprintf("%s%d are free", found, max(free, 0)),
			"Raise max_connections and restart the server, or close other sessions.")
	case !s.superuser && roleLimit >= 0 && roleLimit-roleUsed < need:
		return failed(fmt.Sprintf("%s%s has a limit of %d and uses %d", found, ident(s.role), roleLimit, roleUsed),
			fmt.Sprintf("ALTER ROLE %s CONNECTION LIMIT %d;", ident(s.role), roleUsed+need))
	case !s.superuser && databaseLimit >= 0 && databaseLimit-databaseUsed < need:
		return failed(fmt.Sprintf("%sthe database has a limit of %d and uses %d", found, databaseLimit, databaseUsed),
			fmt.Sprintf("ALTER DATABASE %s CONNECTION LIMIT %d;", ident(s.endpoint.Database()), databaseUsed+need))
	}
	return passed("%s%d are free", found, free)
}
