package incremental_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"pgsyncd/sync/endpoint"
	"pgsyncd/testenv"

	"github.com/jackc/pglogrepl"
	"golang.org/x/sync/errgroup"
)

// Streams end in every way while several writers are at work; no change may be missing or come twice.
func TestFaultsUnderLoad(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE account (id int PRIMARY KEY, balance int, note text); CREATE TABLE log (id int, amount int);
		ALTER TABLE log REPLICA IDENTITY FULL; CREATE TABLE named (name text PRIMARY KEY, id int UNIQUE)`)
	l.source(`INSERT INTO account SELECT i, 0, 'x' FROM generate_series(1, 200) i; INSERT INTO named SELECT 'n' || i, i FROM generate_series(1, 50) i`)
	l.cfg.BatchBytes = 32 << 10
	fromSource, source := l.through(l.src, l.srcDB)
	toDestination, destination := l.through(l.dst, l.dstDB)
	l.cfg.Source, l.cfg.Destination = source, destination
	stop := make(chan struct{})
	writers, ctx := errgroup.WithContext(t.Context())
	for w := range 3 {
		conn := l.src.Connect(t, l.srcDB)
		rng := rand.New(rand.NewPCG(uint64(w), 3)) //nolint:gosec // the same work every time
		writers.Go(func() error {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return nil
				default:
				}
				err := conn.PgConn().Exec(ctx, transaction(rng, w, i)).Close()
				if state(err) == "40P01" || state(err) == "23505" {
					err = conn.PgConn().Exec(ctx, "ROLLBACK").Close()
				}
				if err != nil {
					return err
				}
			}
		})
	}
	rng := rand.New(rand.NewPCG(9, 9)) //nolint:gosec // the same faults every time
	var last pglogrepl.LSN
	for round := range 12 {
		r := l.start()
		l.eventually("the stream works", func() bool {
			select {
			case <-r.done:
				return true
			default:
				return r.Applied() > last
			}
		})
		last = r.Applied()
		end := int64(rng.IntN(300) + 1)
		var cut <-chan struct{}
		switch round % 4 {
		case 0:
			_ = r.kill()
		case 1:
			cut = fromSource.CutAfter(streamMessage(end))
		case 2:
			cut = toDestination.CutAfter(frame(testenv.ToTarget, end))
		case 3:
			cut = toDestination.CutAfter(frame(testenv.ToClient, end))
		}
		select {
		case <-cut:
		case <-r.done:
		case <-ctx.Done():
			t.Fatal(writers.Wait())
		}
		if err := r.wait(); !endpoint.Retryable(err) {
			t.Fatal(err)
		}
		fromSource.ClearRules()
		toDestination.ClearRules()
	}
	close(stop)
	if err := writers.Wait(); err != nil {
		t.Fatal(err)
	}
	l.resume()
	l.equal()
}

// frame matches the nth message in one direction.
func frame(direction testenv.Direction, n int64) testenv.Match {
	var seen int64
	return func(dir testenv.Direction, _ byte, _ []byte) bool {
		if dir == direction {
			seen++
		}
		return dir == direction && seen == n
	}
}

// transaction writes a bit of everything.
func transaction(rng *rand.Rand, writer, i int) string {
	a, b := rng.IntN(200)+1, rng.IntN(200)+1
	switch rng.IntN(8) {
	case 0:
		return fmt.Sprintf(`BEGIN; DELETE FROM log WHERE ctid IN (SELECT ctid FROM log WHERE amount = %d LIMIT 3 FOR UPDATE SKIP LOCKED); COMMIT`, rng.IntN(5))
	case 1:
		return fmt.Sprintf(`BEGIN; UPDATE named SET id = -id WHERE id = %d; UPDATE named SET name = name || 'x' WHERE id = %d; COMMIT`, a%50, b%50)
	case 2:
		return fmt.Sprintf(`BEGIN; SAVEPOINT s; DELETE FROM account; ROLLBACK TO s; UPDATE account SET note = repeat('y', %d) WHERE id = %d; COMMIT`, rng.IntN(5000), a)
	case 3:
		return fmt.Sprintf(`BEGIN; DELETE FROM account WHERE id = %d; INSERT INTO account VALUES (%d, 0, 'again') ON CONFLICT DO NOTHING; COMMIT`, a, a)
	case 4:
		return fmt.Sprintf(`UPDATE account SET balance = balance + 1 WHERE id BETWEEN %d AND %d`, a, a+50)
	}
	return fmt.Sprintf(`BEGIN; UPDATE account SET balance = balance - 1 WHERE id = %d; UPDATE account SET balance = balance + 1 WHERE id = %d;
		INSERT INTO log VALUES (%d, %d), (%d, %d); COMMIT`, min(a, b), max(a, b), writer, i%5, writer, i%5)
}
