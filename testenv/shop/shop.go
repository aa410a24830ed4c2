// Package shop is the database that the demo, the soak test and end-to-end tests synchronize: a web shop whose schema has
// one of most things found in practice, data in any amount, and writers that change it in every way at once.
//
// The package keeps no state. Write starts one goroutine per writer and waits for all of them.
package shop

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"strings"

	"pgsyncd/testenv"

	"github.com/jackc/pgx/v5"
)

//go:embed schema.sql
var schemaSQL string

//go:embed data.sql
var dataSQL string

// UnitBytes is about what one unit of data takes in a database, indexes included.
const UnitBytes = 32 << 20

// Create makes the shop in an empty database and fills it with the given number of units.
func Create(ctx context.Context, conn *pgx.Conn, units int) error {
	if _, err := conn.Exec(ctx, schemaSQL, pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("create shop: %w", err)
	}
	for _, statement := range strings.SplitAfter(dataSQL, ";\n") {
		statement = strings.ReplaceAll(statement, "$1", strconv.Itoa(units))
		if _, err := conn.Exec(ctx, statement, pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("fill shop: %w\n%s", err, statement)
		}
	}
	return nil
}

// CreateDatabase makes the database shop, filled as by Create.
func CreateDatabase(ctx context.Context, c *testenv.Cluster, units int) error {
	if err := testenv.Execute(ctx, c.ConnString("postgres"), "CREATE DATABASE shop"); err != nil {
		return err
	}
	return testenv.Session(ctx, c.ConnString("shop"), func(conn *pgx.Conn) error { return Create(ctx, conn, units) })
}
