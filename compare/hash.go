package compare

import (
	"context"
	"errors"
	"fmt"

	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// hashes turn one bytea (%s) into a bigint, the fastest first. The hash of an array of one bytea is the server's own 64-bit
// hash of exactly those bytes; other ready-made hashes are not used because they follow a type's notion of equality
// (1.0 and 1.00) or mix columns linearly.
var hashes = []string{
	"pg_catalog.hash_array_extended(ARRAY[%s], 0)", // PostgreSQL 11 and later
	"('x' || pg_catalog.substr(pg_catalog.md5(%s), 1, 16))::bit(64)::bigint",
}

// commonHash is the fastest hash that exists on both servers and gives the same for a probe.
func commonHash(ctx context.Context, source, destination *pgx.Conn) (string, error) {
	for _, hash := range hashes {
		query := "SELECT " + fmt.Sprintf(hash, `'\x000102ff7067'::bytea`)
		a, errA := probe(ctx, source, query)
		b, errB := probe(ctx, destination, query)
		if err := errors.Join(errA, errB); err != nil {
			return "", fmt.Errorf("probe hash function: %w", err)
		}
		if a != nil && b != nil && *a == *b {
			return hash, nil
		}
	}
	return "", errors.New("the two servers have no hash function in common")
}

// probe returns nil where the server has no such function.
func probe(ctx context.Context, conn *pgx.Conn, query string) (*int64, error) {
	var h int64
	err := conn.QueryRow(ctx, query, pgx.QueryExecModeSimpleProtocol).Scan(&h)
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "42883" {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &h, nil
}

// firstAssignedOID is the lowest OID that initdb or a database hands out; lower ones mean the same everywhere
// (FirstGenbkiObjectId of access/transam.h).
const firstAssignedOID = 10000

// image is the SQL of a column as it enters a row's image. record_send writes the OID of each column's type, so a type with
// a different OID on either side has to go as text, as do types whose binary form contains OIDs.
func image(c schema.Column) string {
	name := pgx.Identifier{c.Name}.Sanitize()
	if c.BinarySafe && c.TypeOID < firstAssignedOID {
		return name
	}
	return name + "::text"
}
