package endpoint

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
)

// SQLState is the code of a server's error, or empty.
func SQLState(err error) string {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code
	}
	return ""
}
