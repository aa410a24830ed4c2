// Package everything is a database with one object of every kind that PostgreSQL 15 has, rows in all its tables included,
// and another one of nothing but awkward names. Tests synchronize them and judge the outcome with pg_dump.
//
// The package keeps no state and starts no goroutine; pg_dump is a process of its own that ends with the call. What the SQL
// refuses is returned with the number of its file's line.
package everything

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

//go:embed sql/*.sql
var files embed.FS

// Roles are what CreateRoles makes.
var Roles = []string{"every_owner", "every_reader", "every_login", `Every "Rôle".x`, "every_super", "every_replica", "every_bypass"}

// CreateRoles makes the roles that the database's objects belong to and that it grants privileges to. They are the cluster's.
func CreateRoles(ctx context.Context, conn *pgx.Conn) error { return run(ctx, conn, "roles") }

// Create fills an empty database of a cluster that has the roles.
func Create(ctx context.Context, conn *pgx.Conn) error {
	return run(ctx, conn, "types", "functions", "tables", "views", "data", "privileges", "last")
}

// CreateWithExcluded is Create with what is never synchronized, and what cannot do without that.
func CreateWithExcluded(ctx context.Context, conn *pgx.Conn) error {
	return run(ctx, conn, "types", "functions", "tables", "views", "data", "privileges", "excluded", "last")
}

// Change changes rows of every table.
func Change(ctx context.Context, conn *pgx.Conn) error { return run(ctx, conn, "changes") }

// CreateNames fills an empty database with objects whose names are as awkward as PostgreSQL permits.
func CreateNames(ctx context.Context, conn *pgx.Conn) error { return run(ctx, conn, "names") }

// ChangeNames changes rows of all tables with such names.
func ChangeNames(ctx context.Context, conn *pgx.Conn) error { return run(ctx, conn, "names_changes") }

// CreateValues fills an empty database with the values at the edges of every type, in tables of schema val.
func CreateValues(ctx context.Context, conn *pgx.Conn) error { return run(ctx, conn, "values") }

// ChangeValues inserts, updates and deletes all those values.
func ChangeValues(ctx context.Context, conn *pgx.Conn) error { return run(ctx, conn, "values_changes") }

// run executes files, each in one transaction that no ordinary trigger disturbs.
func run(ctx context.Context, conn *pgx.Conn, names ...string) error {
	for _, name := range names {
		sql, err := files.ReadFile("sql/" + name + ".sql")
		if err != nil {
			return err
		}
		if err := conn.PgConn().Exec(ctx, "BEGIN; SET LOCAL session_replication_role = replica;"+string(sql)+";COMMIT").Close(); err != nil {
			_, rollback := conn.Exec(ctx, "ROLLBACK")
			return fmt.Errorf("create %s%s: %w", name, where(err, string(sql)), errors.Join(err, rollback))
		}
	}
	return nil
}

// where tells the line of a syntax error.
func where(err error, sql string) string {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.Position <= 0 || int(pg.Position) > len(sql) {
		return ""
	}
	return fmt.Sprintf(" line %d", 1+strings.Count(sql[:pg.Position-1], "\n"))
}
