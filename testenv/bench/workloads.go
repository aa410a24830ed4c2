package main

import (
	"context"
	_ "embed"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"pgsyncd/testenv"

	"github.com/jackc/pgx/v5"
)

//go:embed backlog.sql
var backlogSQL string

// workload is a kind of backlog.
type workload struct {
	name, explanation string
	tables            []string                                  // that it writes to
	prepare           func(scale float64) string                // SQL whose effect is not part of the backlog; may be nil
	units             func(scale float64) int                   // transactions, or rows of the one transaction
	write             func(ctx context.Context, s *stage) error // while nobody follows
	limit, stretch    float64                                   // least speed as a multiple of native's; 0: none asked for
}

// clients write at the same time, but for workloads that one statement writes.
const clients = 8

// Rows at scale 1. One sequential scan for each row deleted makes native replication's time grow with the square of the keyless
// rows, hence the root.
const (
	branches    = 10
	articles    = 4000
	giantRows   = 2_000_000
	keylessRows = 80_000
	keylessGone = 8000
)

func keyless(rows int, scale float64) int { return int(float64(rows) * math.Sqrt(scale)) }

// scaled is a number of transactions that the clients can share evenly.
func scaled(n int) func(float64) int {
	return func(scale float64) int { return max(1, int(float64(n)*scale)/clients) * clients }
}

// nothing is the workload that shows what every drain begins with.
const nothing = "nothing"

var workloads = []workload{
	{
		name: "tpcb", explanation: "pgbench's TPC-B transactions, 100,000 accounts to a branch",
		tables: []string{"pgbench_accounts", "pgbench_tellers", "pgbench_branches", "pgbench_history"},
		units:  scaled(100_000), limit: 1.7, stretch: 2.5,
		write: func(ctx context.Context, s *stage) error { return s.pgbench(ctx, scaled(100_000)) },
	},
	{
		name: "inserts", explanation: "transactions that insert one row",
		tables: []string{"events"}, units: scaled(200_000), limit: 1.5, stretch: 2,
		write: func(ctx context.Context, s *stage) error {
			return s.pgbench(ctx, scaled(200_000), script{1, `\set kind random(1, 1000)
				INSERT INTO events (kind, note) VALUES (:kind, 'something of kind ' || :kind || ' happened');`})
		},
	},
	{
		name: "hot", explanation: "transactions that each update three of 100 rows",
		tables: []string{"counters"}, units: scaled(60_000), limit: 2.5, stretch: 4,
		write: func(ctx context.Context, s *stage) error {
			return s.pgbench(ctx, scaled(60_000), script{1, `\set id random(1, 98)
				BEGIN \; UPDATE counters SET n = n + 1 WHERE id = :id \; UPDATE counters SET n = n + 1 WHERE id = :id + 1 \;
				UPDATE counters SET n = n + 1 WHERE id = :id + 2 \; COMMIT;`})
		},
	},
	{
		name: "wide", explanation: "transactions that update a row of 8 kB; every fifth replaces what is stored out of line",
		tables: []string{"articles"}, units: scaled(20_000),
		write: func(ctx context.Context, s *stage) error {
			id := fmt.Sprintf("\\set id random(1, %d)\n", scaled(articles)(s.scale))
			return s.pgbench(ctx, scaled(20_000),
				script{4, id + `UPDATE articles SET n = n + 1 WHERE id = :id;`},
				script{1, id + `UPDATE articles SET n = n + 1, body = (SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 250)) WHERE id = :id;`})
		},
	},
	{
		name: "keyless", explanation: "rows deleted at random, ten to a transaction, from a table without key (replica identity full)",
		tables: []string{"readings"}, limit: 20, stretch: 50,
		units: func(scale float64) int { return keyless(keylessGone, scale) },
		prepare: func(scale float64) string {
			return fmt.Sprintf(`TRUNCATE readings; INSERT INTO readings
				SELECT i / 2 %% 500, '2024-01-01'::timestamptz + i / 2 * interval '1 minute', i / 2 %% 10007 / 100.0 FROM generate_series(1, %d) AS i`,
				keyless(keylessRows, scale))
		},
		write: func(ctx context.Context, s *stage) error {
			return s.write(ctx, fmt.Sprintf(`DO $$
				DECLARE r record; n integer := 0;
				BEGIN
					FOR r IN SELECT ctid FROM readings ORDER BY random() LIMIT %d LOOP
						DELETE FROM readings WHERE ctid = r.ctid;
						n := n + 1;
						IF n %% 10 = 0 THEN COMMIT; END IF;
					END LOOP;
				END $$`, keyless(keylessGone, s.scale)))
		},
	},
	{
		name: "giant", explanation: "one transaction that inserts 2,000,000 rows × SCALE",
		tables: []string{"giant"}, units: scaled(giantRows), limit: 1.1, stretch: 1.5,
		prepare: func(float64) string { return "TRUNCATE giant" },
		write:   func(ctx context.Context, s *stage) error { return s.writeGiant(ctx, scaled(giantRows)(s.scale)) },
	},
	{
		name: nothing, explanation: "one row: what it takes to get going again",
		units: func(float64) int { return 1 },
		write: func(context.Context, *stage) error { return nil },
	},
}

func (s *stage) writeGiant(ctx context.Context, rows int) error {
	return s.write(ctx, fmt.Sprintf(
		"INSERT INTO giant SELECT i, i %% 1000, 'row ' || i || ' ' || md5(i::text) FROM generate_series(1, %d) AS i", rows))
}

// createBacklogTables makes all tables in the source's database, and rows for those that are updated.
func (s *stage) createBacklogTables(ctx context.Context) error {
	if err := execute(ctx, s.Source, "postgres", "CREATE DATABASE "+database); err != nil {
		return err
	}
	n := max(1, int(math.Round(branches*s.scale)))
	if err := s.run(ctx, []string{"pgbench", "-i", "-q", "-s", strconv.Itoa(n), s.Source.SocketString(database)}); err != nil {
		return err
	}
	for _, sql := range []string{
		backlogSQL,
		fmt.Sprintf(`INSERT INTO articles SELECT i, 0, 'article ' || i, jsonb_build_object('author', i %% 100, 'tags', jsonb_build_array('a', i %% 5)),
			(SELECT string_agg(md5(i || '/' || j), '') FROM generate_series(1, 250) AS j) FROM generate_series(1, %d) AS i`, scaled(articles)(s.scale)),
	} {
		if err := execute(ctx, s.Source, database, sql); err != nil {
			return err
		}
	}
	return nil
}

// script is one of pgbench's, with its share of the transactions.
type script struct {
	weight int
	text   string
}

// hasty is added to connection strings of those who write backlogs: commits do not wait for the disk, since writing is not what is measured.
const hasty = " options='-c synchronous_commit=off'"

// write runs a statement at the source.
func (s *stage) write(ctx context.Context, sql string) error {
	return testenv.Session(ctx, s.Source.SocketString(database)+hasty, func(c *pgx.Conn) error {
		_, err := c.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
		return err
	})
}

// pgbench runs transactions at the source: TPC-B's unless there are scripts.
func (s *stage) pgbench(ctx context.Context, transactions func(float64) int, scripts ...script) error {
	args := []string{"pgbench", "-n", "-c", strconv.Itoa(clients), "-j", "2", "-t", strconv.Itoa(transactions(s.scale) / clients)}
	for i, sc := range scripts {
		file := filepath.Join(s.dir, fmt.Sprintf("script-%d", i))
		if err := os.WriteFile(file, []byte(sc.text+"\n"), 0o600); err != nil {
			return err
		}
		args = append(args, "-f", fmt.Sprintf("%s@%d", file, sc.weight))
	}
	return s.run(ctx, append(args, s.Source.SocketString(database)+hasty))
}
