package main

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"pgsyncd/testenv"

	"github.com/jackc/pgx/v5"
)

//go:embed data.sql
var tablesSQL string

// indexesSQL is made after the rows. At scale 1 the indexes take 240 MB.
const indexesSQL = `
ALTER TABLE accounts ADD CONSTRAINT accounts_pkey PRIMARY KEY (aid);
ALTER TABLE orders ADD CONSTRAINT orders_pkey PRIMARY KEY (id);
CREATE INDEX orders_created ON orders (created);
CREATE INDEX orders_code ON orders (code);`

// Rows of the two tables at scale 1.
const (
	accounts = 6_000_000
	orders   = 1_500_000
)

// createData fills the source's database.
func createData(ctx context.Context, c *testenv.Cluster, db string, scale float64) error {
	if err := execute(ctx, c, "postgres", "CREATE DATABASE "+db); err != nil {
		return err
	}
	if err := execute(ctx, c, db, tablesSQL); err != nil {
		return err
	}
	if err := addData(ctx, c, db, 0, scale); err != nil {
		return err
	}
	return execute(ctx, c, db, indexesSQL)
}

// addData adds the rows between two scales.
func addData(ctx context.Context, c *testenv.Cluster, db string, from, to float64) error {
	for table, n := range map[string]float64{"accounts": accounts, "orders": orders} {
		columns := "i, (i - 1) / 100000 + 1, 0, ''"
		if table == "orders" {
			columns = `i, '2020-01-01'::timestamptz + i * interval '1 minute', '2024-01-01'::timestamptz + i * interval '7 seconds', i % 100000,
				'C-' || (i * 7919 % 1500007), (i % 100000) / 100.0, i % 17, i / 7.0::float8, i % 3 = 0, md5(i::text)::uuid,
				jsonb_build_object('colour', i % 12, 'size', 'XL', 'tags', jsonb_build_array('a', i % 5)),
				repeat(md5((i * 3)::text), 7)`
		}
		sql := fmt.Sprintf("INSERT INTO %s SELECT %s FROM generate_series(%d::bigint, %d) AS i",
			table, columns, int64(n*from)+1, int64(n*to))
		if err := execute(ctx, c, db, sql); err != nil {
			return err
		}
	}
	for _, sql := range []string{"VACUUM (FREEZE, ANALYZE)", "CHECKPOINT"} {
		if err := execute(ctx, c, db, sql); err != nil {
			return err
		}
	}
	return nil
}

// heapBytes is the size of all tables without their indexes.
func heapBytes(ctx context.Context, c *testenv.Cluster, db string) (n int64, err error) {
	err = testenv.Session(ctx, c.SocketString(db), func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, "SELECT sum(pg_table_size(oid))::bigint FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace").Scan(&n)
	})
	return n, err
}

// structureSQL lists columns, indexes and constraints of all tables.
const structureSQL = `
SELECT a.attrelid::regclass || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
 WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
UNION ALL
SELECT pg_get_indexdef(i.indexrelid) || CASE WHEN i.indisvalid THEN '' ELSE ' invalid' END
  FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid WHERE c.relnamespace = 'public'::regnamespace
UNION ALL
SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace
ORDER BY 1`

// fingerprint describes a database so that equal texts mean equal tables, rows, indexes and constraints.
func fingerprint(ctx context.Context, c *testenv.Cluster, db string) (text string, err error) {
	var lines []string
	err = testenv.Session(ctx, c.SocketString(db), func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, structureSQL)
		if err != nil {
			return err
		}
		if lines, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
			return err
		}
		if rows, err = conn.Query(ctx, "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1"); err != nil {
			return err
		}
		tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		all, err := sums(ctx, conn, tables)
		if err != nil {
			return err
		}
		lines = append(lines, all...)
		return nil
	})
	slices.Sort(lines)
	return strings.Join(lines, "\n"), err
}

// sums describes the rows of tables, one line for each. A row of type bytea is summed by its digest, since its text could exceed what a
// server can hold.
func sums(ctx context.Context, conn *pgx.Conn, tables []string) (lines []string, err error) {
	for _, t := range tables {
		row := "t::text"
		if t == "wide" {
			row = "md5(t.body)"
		}
		var sum string
		sql := fmt.Sprintf("SELECT count(*) || ' rows, ' || coalesce(sum(hashtextextended(%s, 0)), 0) FROM %s t", row, t)
		if err := conn.QueryRow(ctx, sql).Scan(&sum); err != nil {
			return lines, err
		}
		lines = append(lines, t+": "+sum)
	}
	return lines, nil
}
