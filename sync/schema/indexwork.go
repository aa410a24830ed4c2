package schema

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// IndexWork is what is known in advance about the building of an index.
type IndexWork struct {
	Weight     int64 // how long it takes, compared with others
	Expression bool  // of it statistics are gathered as of a column, once it exists
}

// IndexWorks reads it for all indexes, by the OID of the index and by that of its constraint. Pages are those that the source counted last:
// to look at files would need locks. Sorting by a language's rules takes about three times as long as sorting numbers, and other access
// methods than btree take longer still.
func IndexWorks(ctx context.Context, conn *pgx.Conn) (map[uint32]IndexWork, error) {
	rows, err := conn.Query(ctx, `
		SELECT i.indexrelid, coalesce(k.oid, 0), i.indexprs IS NOT NULL,
		       greatest(c.relpages, 1)::int8
		       * CASE WHEN EXISTS (SELECT FROM pg_catalog.unnest(i.indcollation::pg_catalog.oid[]) AS l (oid) WHERE l.oid NOT IN (0, 950, 951)) THEN 3 ELSE 1 END
		       * CASE a.amname WHEN 'btree' THEN 1 WHEN 'hash' THEN 1 WHEN 'brin' THEN 1 ELSE 4 END
		  FROM pg_catalog.pg_index i
		  JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
		  JOIN pg_catalog.pg_am a ON a.oid = c.relam
		  LEFT JOIN pg_catalog.pg_constraint k ON k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x')
		 WHERE i.indexrelid >= 16384`)
	if err != nil {
		return nil, fmt.Errorf("read sizes of indexes: %w", err)
	}
	works := map[uint32]IndexWork{}
	var index, constraint uint32
	var w IndexWork
	_, err = pgx.ForEachRow(rows, []any{&index, &constraint, &w.Expression, &w.Weight}, func() error {
		works[index] = w
		if constraint != 0 {
			works[constraint] = w
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read sizes of indexes: %w", err)
	}
	return works, nil
}
