package incremental_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"

	"pgsyncd/sync/incremental"
	"pgsyncd/testenv"

	"golang.org/x/sync/errgroup"
)

const bankDDL = `CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL, note text); CREATE TABLE other (id text PRIMARY KEY, balance int NOT NULL);
	CREATE TABLE num (n numeric PRIMARY KEY, v int); CREATE TABLE log (id int, amount int); CREATE TABLE plain (id int, v text);
	ALTER TABLE plain REPLICA IDENTITY FULL; CREATE TABLE named (id int PRIMARY KEY, name text UNIQUE); CREATE TABLE few (id int PRIMARY KEY, v int);
	CREATE TABLE gate ();`

// bank commits transactions by which money moves between accounts of two tables, and which meanwhile swap keys, change their
// form, and touch tables of every kind.
const bank = `DO $$
	DECLARE a int; b int; sum int;
	BEGIN
		PERFORM setseed(0.%d);
		FOR i IN 1..%d LOOP
			a := 1 + random() * 199; b := 1 + random() * 199; sum := random() * 10;
			UPDATE account SET balance = balance - sum WHERE id = a;
			UPDATE other SET balance = balance + sum WHERE id = 'k' || b;
			INSERT INTO log VALUES (i, sum), (i, a);
			IF i %% 7 = 0 THEN
				UPDATE account SET id = -1 WHERE id = a; UPDATE account SET id = a WHERE id = b AND a <> b; UPDATE account SET id = CASE WHEN a = b THEN a ELSE b END WHERE id = -1;
			ELSIF i %% 7 = 1 THEN
				DELETE FROM other WHERE id = 'k' || a RETURNING balance INTO sum;
				INSERT INTO other VALUES ('k' || a, sum);
			ELSIF i %% 7 = 2 THEN
				DELETE FROM num WHERE n = a; INSERT INTO num VALUES (CASE WHEN i %% 2 = 0 THEN a::numeric(9, 1) ELSE a::numeric(9, 3) END, i);
			ELSIF i %% 7 = 3 THEN
				UPDATE named SET name = NULL WHERE id = a; UPDATE named SET name = 'n' || a WHERE id = b AND NOT EXISTS (SELECT FROM named x WHERE x.name = 'n' || a);
			ELSIF i %% 7 = 4 THEN
				INSERT INTO plain SELECT b, 'v' FROM generate_series(1, 1 + b %% 3);
				DELETE FROM plain WHERE ctid = (SELECT ctid FROM plain WHERE id = a LIMIT 1); UPDATE plain SET v = v || 'x' WHERE id = b;
			ELSIF i %% 7 = 5 THEN
				UPDATE account SET note = repeat('y', 3000) WHERE id = a; UPDATE account SET balance = balance WHERE id = b;
			END IF;
			IF i %% 97 = 0 THEN UPDATE few SET v = i; END IF;
			IF i %% 613 = 0 THEN TRUNCATE log; END IF;
			COMMIT;
		END LOOP;
	END $$`

func setupBank(t *testing.T, workers int) *lab {
	t.Helper()
	l := setup(t, bankDDL)
	l.fillBank(workers)
	return l
}

func (l *lab) fillBank(workers int) {
	l.Helper()
	l.source(`INSERT INTO account SELECT i, 100, repeat('z', 3000) FROM generate_series(1, 200) i; INSERT INTO other SELECT 'k' || i, 100 FROM generate_series(1, 200) i;
			INSERT INTO num SELECT i, 0 FROM generate_series(1, 200) i; INSERT INTO named SELECT i, 'n' || i FROM generate_series(1, 200) i; INSERT INTO few SELECT i, 0 FROM generate_series(1, 5) i`)
	r := l.start()
	r.catchUp()
	_ = r.kill()
	l.cfg.Workers, l.cfg.BatchBytes = workers, 128<<10
}

// A backlog is drained by several connections: every state that a reader of the destination sees is one of the source.
func TestOverlappingBatches(t *testing.T) {
	t.Parallel()
	for _, workers := range []int{1, 4} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			t.Parallel()
			overlappingBatches(t, workers)
		})
	}
}

func overlappingBatches(t *testing.T, workers int) {
	t.Helper()
	l := setupBank(t, workers)
	ctx, stop := context.WithCancel(t.Context())
	readers, reading := errgroup.WithContext(ctx)
	whole := context.WithoutCancel(reading) // a query is not interrupted
	conn := l.dst.Connect(t, l.dstDB)
	sessions := 0
	readers.Go(func() error {
		for reading.Err() == nil {
			var sum, open int
			if err := conn.QueryRow(whole, `SELECT (SELECT sum(balance) FROM account) + (SELECT sum(balance) FROM other),
				(SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE '% apply' AND state LIKE 'idle in%')`).Scan(&sum, &open); err != nil {
				return err
			}
			if sum != 40000 {
				return fmt.Errorf("the sum is %d", sum)
			}
			sessions = max(sessions, open)
		}
		return nil
	})
	for round := range 4 {
		l.source(fmt.Sprintf(bank, round+1, 2000))
		r := l.start()
		if round%2 == 1 {
			last := r.Applied()
			l.eventually("something is applied", func() bool { return r.Applied() > last+100000 })
			_ = r.kill()
			r = l.start()
		}
		r.catchUp()
		_ = r.kill()
		l.equal()
	}
	stop()
	if err := readers.Wait(); err != nil {
		t.Error(err)
	}
	if n := len(l.report.recorded()); n != 0 {
		t.Errorf("conflicts: %+v", l.report.recorded())
	}
	if workers > 1 && sessions < 2 {
		t.Errorf("only %d sessions at once", sessions)
	}
}

// Where the destination has another row than the source thinks, the conflict is found although batches overlap, once and in order.
func TestConflictAmongOverlappingBatches(t *testing.T) {
	t.Parallel()
	l := setupBank(t, 4)
	l.cfg.Policy = incremental.PolicyIgnore
	l.source(fmt.Sprintf(bank, 1, 1000))
	l.source(`INSERT INTO few VALUES (77, 1); INSERT INTO account VALUES (1000, 1)`)
	l.source(fmt.Sprintf(bank, 2, 1000))
	l.source(`UPDATE account SET balance = 2 WHERE id = 1000; DELETE FROM few WHERE id = 78`)
	l.destination(`INSERT INTO account VALUES (1000, 7, 'theirs'); INSERT INTO few VALUES (77, 7)`)
	r := l.start()
	r.catchUp()
	l.destination(`UPDATE account SET note = NULL WHERE id = 1000`)
	l.equal()
	if c := l.report.recorded(); len(c) != 2 || c[0].Kind != incremental.InsertExists || c[1].Kind != incremental.InsertExists {
		t.Errorf("conflicts %+v", c)
	}
}

// piledUp lets batches pile up behind rows that somebody has locked in the destination, and returns how many sessions were opened to apply them.
func (l *lab) piledUp() string {
	l.Helper()
	for round := range 3 {
		l.source(fmt.Sprintf(bank, round+1, 1500))
	}
	l.destination("BEGIN; SELECT FROM account FOR UPDATE")
	r := l.start()
	other := l.dst.Connect(l.T, l.dstDB)
	const applying = "FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE '% apply'"
	l.eventually("the first batch waits, alone with the tables", func() bool {
		return l.one(other, "SELECT count(*) = 1 "+applying+" AND wait_event_type = 'Lock' AND state_change < now() - interval '1 s'") == "t"
	})
	l.destination("ROLLBACK")
	r.catchUp()
	n := l.one(other, "SELECT count(*) "+applying)
	_ = r.kill()
	l.equal()
	return n
}

// However many connections are allowed, only those are opened that there are batches for, and these are bounded by what they hold together: 17
// that are half full, beside the connection that applies alone.
func TestBatchesAheadAreBounded(t *testing.T) {
	t.Parallel()
	l := setupBank(t, 60)
	if n, err := strconv.Atoi(l.piledUp()); err != nil || n < 4 || n > 18 {
		t.Errorf("%d sessions, %v", n, err)
	}
}

// A destination that has no more connections is written to by those that there are.
func TestFewerConnectionsThanWorkers(t *testing.T) {
	t.Parallel()
	src, _ := testenv.SharedPair(t)
	dst := testenv.Start(t, testenv.Config{Settings: map[string]string{"max_connections": "8", "superuser_reserved_connections": "0"}})
	l := setupOn(t, src, dst, bankDDL)
	l.fillBank(8)
	if n, err := strconv.Atoi(l.piledUp()); err != nil || n < 3 {
		t.Errorf("%d sessions, %v", n, err)
	}
}
