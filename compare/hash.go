package compare

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// hashes turn one bytea (%s) into a bigint, the fastest first. The hash of an array of one bytea is the server's own 64-bit
// hash of exactly those bytes.
var hashes = []string{
	"pg_catalog.hash_array_extended(ARRAY[%s], 0)", // PostgreSQL 11 and later
	"('x' || pg_catalog.substr(pg_catalog.md5(%s), 1, 16))::bit(64)::bigint",
}

// specimen is hashed on both servers: longer than the blocks the hash works in, with a rest.
const specimen = `'\x000102ff7067808182838485868788898a8b8c8d8e8f9091929394'::bytea`

// commonHash is the fastest hash that exists on both servers and gives the same for the specimen.
func commonHash(ctx context.Context, source, destination *pgx.Conn) (string, error) {
	for _, hash := range hashes {
		same, err := agree(ctx, source, destination, "SELECT "+fmt.Sprintf(hash, specimen))
		if err != nil {
			return "", err
		}
		if same {
			return hash, nil
		}
	}
	return "", errors.New("the two servers have no hash function in common")
}

// fieldTypes are types whose own hash is that of exactly their value, so that it need not be sent to be hashed. The hashes of others follow
// their type's notion of equality (1.0 and 1.00, 0 and -0, enum labels by OID) or have collisions that one can name (bigint, and the times,
// are folded into 32 bits). A bpchar is hashed without its trailing blanks, of which its length tells.
var fieldTypes = []struct {
	oid             uint32
	field, specimen string // SQL of a field; %[1]s is the column
	text            bool   // hashed as the server encodes it
}{
	{pgtype.BoolOID, "%[1]s", "true", false},
	{pgtype.QCharOID, "%[1]s", `'c'::"char"`, false},
	{pgtype.Int2OID, "%[1]s", "2::int2", false},
	{pgtype.Int4OID, "%[1]s", "-4", false},
	{pgtype.DateOID, "%[1]s", "'1999-12-31'::date", false},
	{pgtype.UUIDOID, "%[1]s", "'00112233-4455-6677-8899-aabbccddeeff'::uuid", false},
	{pgtype.ByteaOID, "%[1]s", specimen, false},
	{pgtype.TextOID, `%[1]s COLLATE pg_catalog."C"`, "'specimen'::text", true},
	{pgtype.VarcharOID, `%[1]s COLLATE pg_catalog."C"`, "'specimen'::varchar", true},
	{pgtype.BPCharOID, `%[1]s COLLATE pg_catalog."C", pg_catalog.octet_length(%[1]s)`, "'specimen  '::bpchar", true},
}

// maxFields bounds the columns that are hashed as fields, which may be two each: a ROW has at most 1664.
const maxFields = 800

// recordHash is the SQL of a 64-bit hash of fields. hash_record_extended adds up multiples of its fields' hashes: the sum over all rows would
// not change when two of them swap a value. So it only seeds a hash.
func recordHash(fields []string) string {
	return "pg_catalog.hashint4extended(0, pg_catalog.hash_record_extended(ROW(" + strings.Join(fields, ", ") + "), 0))"
}

// commonFields returns, by the OID of the type, the fields that both servers hash alike; nil before PostgreSQL 14.
func commonFields(ctx context.Context, source, destination *pgx.Conn) (map[uint32]string, error) {
	const encoding = "server_encoding"
	alike := source.PgConn().ParameterStatus(encoding) == destination.PgConn().ParameterStatus(encoding)
	fields := map[uint32]string{}
	specimens := []string{"NULL::int4"}
	for _, t := range fieldTypes {
		if alike || !t.text {
			fields[t.oid] = t.field
			specimens = append(specimens, fmt.Sprintf(t.field, "("+t.specimen+")"))
		}
	}
	same, err := agree(ctx, source, destination, "SELECT "+recordHash(specimens))
	if err != nil || !same {
		return nil, err
	}
	return fields, nil
}

// agree reports whether two servers give the same answer; false if one cannot.
func agree(ctx context.Context, source, destination *pgx.Conn, query string) (bool, error) {
	a, err := probe(ctx, source, query)
	if err != nil {
		return false, fmt.Errorf("probe hash function in the source: %w", err)
	}
	b, err := probe(ctx, destination, query)
	if err != nil {
		return false, fmt.Errorf("probe hash function in the destination: %w", err)
	}
	return a != nil && b != nil && *a == *b, nil
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
