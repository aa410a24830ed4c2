package sqlapi

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
)

// SQLSTATEs the daemon itself raises. An endpoint's own SQLSTATE (08001, 28P01, 3D000, …) is passed on as reported.
const (
	CodeUnsupported      = "0A000" // feature_not_supported
	CodeInvalidEncoding  = "22021" // character_not_in_repertoire
	CodeInvalidValue     = "22023" // invalid_parameter_value
	CodeInvalidEscape    = "22025" // invalid_escape_sequence
	CodeInTransaction    = "25001" // active_sql_transaction
	CodeDenied           = "42501" // insufficient_privilege
	CodeSyntax           = "42601" // syntax_error
	CodeNameTooLong      = "42622" // name_too_long
	CodeDuplicateColumn  = "42701" // duplicate_column
	CodeUndefined        = "42704" // undefined_object
	CodeDuplicate        = "42710" // duplicate_object
	CodeWrongState       = "55000" // object_not_in_prerequisite_state
	CodeCancelled        = "57014" // query_canceled
	CodeInternal         = "XX000" // internal_error: a defect of the daemon, never something a user did
	CodeConnectionFailed = "08001" // sqlclient_unable_to_establish_sqlconnection
)

// Error is what a client receives in an ErrorResponse. Message, Detail and Hint follow PostgreSQL's style: the message in lower case
// without a full stop, DETAIL and HINT in whole sentences. A literal of
// the statement is quoted only where the grammar expects no secret: a literal in a place of its own choosing may be a password.
type Error struct {
	Code     string // SQLSTATE
	Message  string
	Detail   string
	Hint     string
	Position int   // 1-based character of the statement text the error is about; 0 when there is none
	Err      error // cause, for errors.Is and the log; never shown to the client
}

// Error returns the message with its SQLSTATE.
func (e *Error) Error() string { return fmt.Sprintf("%s (SQLSTATE %s)", e.Message, e.Code) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Shift returns a copy of e whose position counts from the start of a query string in which the statement begins
// after the given number of characters (see [Segment.Chars]).
func (e *Error) Shift(chars int) *Error {
	c := *e
	if c.Position > 0 {
		c.Position += chars
	}
	return &c
}

// Errorf returns an error with the given SQLSTATE and message.
func Errorf(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// WithDetail sets DETAIL and returns e.
func (e *Error) WithDetail(format string, args ...any) *Error {
	e.Detail = fmt.Sprintf(format, args...)
	return e
}

// WithHint sets HINT and returns e.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// at sets the position to the character at byte offset off of src and returns e.
func (e *Error) at(src string, off int) *Error {
	e.Position = utf8.RuneCountInString(src[:off]) + 1
	return e
}

// invalid is 22023: a name, option or value that is well-formed but not acceptable.
func invalid(format string, args ...any) *Error { return Errorf(CodeInvalidValue, format, args...) }

// AsError turns any error into what the client is told: an *Error as it is, an endpoint's or the catalog's PgError under its own
// SQLSTATE, a cancelled context as 57014, anything else as XX000.
func AsError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return &Error{Code: pg.Code, Message: pg.Message, Detail: pg.Detail, Hint: pg.Hint, Err: err}
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return &Error{Code: CodeConnectionFailed, Message: err.Error(), Err: err}
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return &Error{Code: CodeCancelled, Message: "canceling statement due to user request", Err: err}
	}
	return &Error{Code: CodeInternal, Message: err.Error(), Err: err}
}
