package shop_test

import (
	"context"
	"testing"

	"pgsyncd/testenv"
	"pgsyncd/testenv/shop"
)

// Every kind of step must be accepted by the server, or the load would attack less than it promises.
func TestWritersChangeTheShop(t *testing.T) {
	t.Parallel()
	c := testenv.Shared(t)
	db := c.Database(t)
	conn := c.Connect(t, db)
	if err := shop.Create(t.Context(), conn, 1); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		n, err := shop.Write(ctx, shop.Load{ConnString: c.ConnString(db), Units: 1, Writers: 4, Seed: 1, Truncate: true})
		t.Log("transactions", n)
		done <- err
	}()
	for {
		var n int
		if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM pgbench_history`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n >= 500 {
			break
		}
		select {
		case err := <-done:
			t.Fatal("writers ended early:", err)
		default:
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
