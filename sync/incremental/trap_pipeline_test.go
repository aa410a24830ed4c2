package incremental

import (
	"errors"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// A server that is stopped may say so when every statement has been answered already; that concerns none of them.
func TestServerThatEndsAfterTheLastAnswer(t *testing.T) {
	t.Parallel()
	cause := &pgconn.PgError{Severity: "FATAL", Code: "57P01"}
	p := &pipeline{sent: []expectation{{want: 1, origin: 7}, {sync: true}}}
	if f := p.failed(nil, 1, cause); f.origin != originFrame || !errors.Is(f.err, cause) {
		t.Errorf("after the last: %+v", f)
	}
	if f := p.failed(nil, 0, cause); f.origin != 7 {
		t.Errorf("at the last: %+v", f)
	}
}
