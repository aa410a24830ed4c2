package compare

import (
	"fmt"
	"testing"

	"pgsyncd/testenv"
)

// TestHashes: each of them is SQL, the same on two servers, and tells apart what differs in one bit.
func TestHashes(t *testing.T) {
	t.Parallel()
	a, b := testenv.SharedPair(t)
	source, destination := a.Connect(t, "postgres"), b.Connect(t, "postgres")
	seen := map[int64]string{}
	for _, hash := range hashes {
		for _, value := range []string{specimen, `'\x00'::bytea`, `'\x01'::bytea`, `''::bytea`, `convert_to(repeat('x', 100000), 'UTF8')`, `convert_to(repeat('x', 99999) || 'y', 'UTF8')`} {
			query := "SELECT " + fmt.Sprintf(hash, value)
			h, err := probe(t.Context(), source, query)
			if err != nil || h == nil {
				t.Fatalf("%s: %v", query, err)
			}
			if other, err := probe(t.Context(), destination, query); err != nil || *other != *h {
				t.Errorf("%s: %d here, %v there (%v)", query, *h, other, err)
			}
			if before, ok := seen[*h]; ok {
				t.Errorf("%s and %s have the same hash", query, before)
			}
			seen[*h] = query
		}
	}
	if hash, err := commonHash(t.Context(), source, destination); err != nil || hash != hashes[0] {
		t.Errorf("%q %v", hash, err)
	}
	if h, err := probe(t.Context(), source, "SELECT pg_catalog.no_such_hash(1)"); err != nil || h != nil {
		t.Errorf("a function that does not exist: %v %v", h, err)
	}
}
