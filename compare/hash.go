package compare

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
)

// hashes turn one bytea (%s) into a bigint, the fastest first. The hash of an array of one bytea is the server's own 64-bit
// hash of exactly those bytes. Other ready-made hashes are not used because they follow a type's notion of equality
// (1.0 and 1.00) or mix columns linearly.
var hashes = []string{
	"pg_catalog.hash_array_extended(ARRAY[%s], 0)", // PostgreSQL 11 and later
	"('x' || pg_catalog.substr(pg_catalog.md5(%s), 1, 16))::bit(64)::bigint",
}

// specimen is hashed on both servers: longer than the blocks the hash works in, with a rest.
const specimen = `'\x000102ff7067808182838485868788898a8b8c8d8e8f9091929394'::bytea`

// commonHash is the fastest hash that exists on both servers and gives the same for the specimen.
func commonHash(ctx context.Context, source, destination *pgx.Conn) (string, error) {
	for _, hash := range hashes {
		query := "SELECT " + fmt.Sprintf(hash, specimen)
		a, err := probe(ctx, source, query)
		if err != nil {
			return "", fmt.Errorf("probe hash function in the source: %w", err)
		}
		b, err := probe(ctx, destination, query)
		if err != nil {
			return "", fmt.Errorf("probe hash function in the destination: %w", err)
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
	if endpoint.SQLState(err) == "42883" {
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

// asText reports whether a column enters the image as text: its binary form may contain OIDs, or, like its type in
// record_send's output, its own OID differs between databases.
func asText(c schema.Column) bool { return !c.BinarySafe || c.TypeOID >= firstAssignedOID }

// image is the SQL of a row's image, a bytea; name returns a column's name on the side that is read. The text of a record is made by
// the output functions of its columns, where a cast to text could be anything a user has defined; it tells NULL from an empty string.
func image(columns []column, name func(target string) string) string {
	var parts, texts []string
	for _, c := range columns {
		own := pgx.Identifier{name(c.target)}.Sanitize()
		if c.text {
			texts = append(texts, own)
		} else {
			parts = append(parts, own)
		}
	}
	if texts != nil {
		parts = append(parts, "ROW("+strings.Join(texts, ", ")+")::text")
	}
	return "pg_catalog.record_send(ROW(" + strings.Join(parts, ", ") + "))"
}
