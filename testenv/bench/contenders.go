package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
)

// contender is one way to clone the database. run is timed; what after undoes is not.
type contender struct {
	name  string
	run   func(ctx context.Context, l *lab) error
	after func(ctx context.Context, l *lab) error // may be nil
}

// Names of contenders that bars refer to.
const (
	ours       = "pgsyncd"
	psqlPipe   = "psql"
	pgcopydb   = "pgcopydb"
	native     = "native"
	nativeKeys = "native-indexed"
	dumpFiles  = "pg_dump"
)

// contenders all bring structure, rows and indexes. Where a tool can use several connections, it gets two.
var contenders = []contender{
	{name: psqlPipe, run: runPSQL},
	{name: dumpFiles, run: runDump},
	{name: pgcopydb, run: runPgcopydb},
	{name: native, run: runNative, after: dropSubscription},
	{name: nativeKeys, run: runNativeIndexed, after: dropSubscription},
	{name: ours, run: runOurs, after: dropTask},
}

var explanations = map[string]string{
	psqlPipe:   "psql COPY TO | psql COPY FROM, one table after the other, then indexes",
	dumpFiles:  "pg_dump -j 2 -Fd -Z 0, then pg_restore -j 2",
	pgcopydb:   "pgcopydb clone, 2 table jobs and 2 index jobs",
	native:     "CREATE SUBSCRIPTION on bare tables until synchronized, then indexes by pg_restore -j 2",
	nativeKeys: "CREATE SUBSCRIPTION on tables with their indexes until synchronized",
	ours:       "CREATE SYNC TASK … MODE FULL START NOW until completed, all options at their defaults",
}

func (l *lab) psql(conninfo, sql string) []string {
	return []string{"psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", conninfo, "-c", sql}
}

// structure pipes a section of the schema, or all of it when that is empty, to a database of the destination.
func (l *lab) structure(ctx context.Context, section, into string) error {
	dump := []string{"pg_dump", "--schema-only", "--no-publications", "-d", l.Source.SocketString(database)}
	if section != "" {
		dump = append(dump, "--section="+section)
	}
	return l.run(ctx, dump, []string{"psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-d", l.Destination.SocketString(into)})
}

func runPSQL(ctx context.Context, l *lab) error {
	if err := l.structure(ctx, "pre-data", database); err != nil {
		return err
	}
	for _, t := range []string{"accounts", "orders"} {
		err := l.run(ctx,
			l.psql(l.Source.SocketString(database), "COPY "+t+" TO STDOUT"), l.psql(l.Destination.SocketString(database), "COPY "+t+" FROM STDIN"))
		if err != nil {
			return err
		}
	}
	return l.structure(ctx, "post-data", database)
}

func runDump(ctx context.Context, l *lab) error {
	dir := filepath.Join(l.dir, "dump")
	if err := l.run(ctx, []string{"pg_dump", "-j", "2", "-F", "d", "-Z", "0", "--no-publications", "-f", dir, "-d", l.Source.SocketString(database)}); err != nil {
		return err
	}
	return l.run(ctx, []string{"pg_restore", "-j", "2", "-d", l.Destination.SocketString(database), dir})
}

func runPgcopydb(ctx context.Context, l *lab) error {
	return l.run(ctx, []string{
		"pgcopydb", "clone", "--source", l.Source.SocketString(database), "--target", l.Destination.SocketString(database),
		"--dir", filepath.Join(l.dir, "pgcopydb"), "--table-jobs", "2", "--index-jobs", "2",
	})
}

func runNative(ctx context.Context, l *lab) error {
	file := filepath.Join(l.dir, "schema")
	err := l.run(ctx, []string{"pg_dump", "--schema-only", "--no-publications", "-F", "c", "-f", file, "-d", l.Source.SocketString(database)})
	if err != nil {
		return err
	}
	restore := []string{"pg_restore", "-j", "2", "-d", l.Destination.SocketString(database), "--section"}
	if err := l.run(ctx, append(slices.Clone(restore), "pre-data", file)); err != nil {
		return err
	}
	if err := l.subscribe(ctx); err != nil {
		return err
	}
	return l.run(ctx, append(slices.Clone(restore), "post-data", file))
}

func runNativeIndexed(ctx context.Context, l *lab) error {
	if err := l.structure(ctx, "", database); err != nil {
		return err
	}
	return l.subscribe(ctx)
}

// publication is made with the data.
const publication = "CREATE PUBLICATION bench FOR ALL TABLES"

func (l *lab) subscribe(ctx context.Context) error {
	// The destination's server connects as the user it runs as, who is the source's superuser by name.
	sql := fmt.Sprintf("CREATE SUBSCRIPTION bench CONNECTION '%s' PUBLICATION bench", l.Source.SocketString(database))
	if err := execute(ctx, l.Destination, database, sql); err != nil {
		return err
	}
	return await(ctx, l.Destination, database, "SELECT count(*) = 2 AND bool_and(srsubstate IN ('s', 'r')) FROM pg_subscription_rel")
}

func dropSubscription(ctx context.Context, l *lab) error {
	return execute(ctx, l.Destination, database, "DROP SUBSCRIPTION bench")
}

func runOurs(ctx context.Context, l *lab) error { return l.synchronize(ctx, database) }

// synchronize has the daemon copy a database.
func (l *lab) synchronize(ctx context.Context, db string) error {
	if err := l.control(ctx, fmt.Sprintf("CREATE SYNC TASK bench FROM '%s' TO '%s' MODE FULL START NOW CONFIRM ALL",
		l.Source.SocketString(db), l.Destination.SocketString(db))); err != nil {
		return err
	}
	return l.control(ctx, "WAIT FOR SYNC TASK bench TO REACH 'completed' TIMEOUT '6 hours'")
}

func dropTask(ctx context.Context, l *lab) error { return l.control(ctx, "DROP SYNC TASK bench") }
