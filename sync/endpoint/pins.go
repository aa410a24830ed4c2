package endpoint

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// pin is a setting that every session has, whatever the server's configuration,
// ALTER DATABASE and ALTER ROLE say.
type pin struct {
	name, value string
	since       int // server_version_num / 100 of the first server that knows it; 0: all since 9.4
}

// pins are exact for both sides: what one server writes as text under them, any
// other reads back as the same value. Settings of a start-up packet win over
// ALTER DATABASE and ALTER ROLE … SET; a server refuses a packet that names a
// setting it does not know, so newer settings follow once its version is known.
var pins = []pin{
	{"statement_timeout", "0", 0},
	{"lock_timeout", "0", 0},
	{"idle_in_transaction_session_timeout", "0", 906},
	{"idle_session_timeout", "0", 1400},
	{"transaction_timeout", "0", 1700},
	{"search_path", "", 0},
	{"row_security", "off", 905}, // fail instead of silently hiding rows
	{"client_encoding", "UTF8", 0},
	{"standard_conforming_strings", "on", 0},
	{"array_nulls", "on", 0},
	{"transform_null_equals", "off", 0},
	{"quote_all_identifiers", "off", 0},
	{"DateStyle", "ISO, YMD", 0},
	{"IntervalStyle", "postgres", 0},
	{"TimeZone", "UTC", 0},
	{"extra_float_digits", "3", 0},
	{"bytea_output", "hex", 0},
	{"xmloption", "content", 0}, // content accepts what document accepts, not the reverse
	{"lc_monetary", "C", 0},
	{"default_transaction_isolation", "read committed", 0},
	{"default_transaction_read_only", "off", 0},
	{"default_transaction_deferrable", "off", 0},
	{"synchronous_commit", "on", 0},
	{"client_min_messages", "notice", 0},
}

// startup returns the parameters of the start-up packet for a server of at
// least the given version (as in pin.since).
func startup(version int) map[string]string {
	parameters := map[string]string{}
	for _, p := range pins {
		if p.since <= version {
			parameters[p.name] = p.value
		}
	}
	return parameters
}

// later returns the statements that set what startup(0) left out and a server of
// this version knows; empty when there is nothing.
func later(version int) string {
	var b strings.Builder
	for _, p := range pins {
		if p.since != 0 && p.since <= version {
			fmt.Fprintf(&b, "SET %s = '%s';", p.name, p.value)
		}
	}
	return b.String()
}

// pinSession sets what the start-up packet could not.
func pinSession(ctx context.Context, conn *pgconn.PgConn) error {
	statements := later(reportedVersion(conn))
	if statements == "" {
		return nil
	}
	if _, err := conn.Exec(ctx, statements).ReadAll(); err != nil {
		return fmt.Errorf("session settings: %w", err)
	}
	return nil
}

// Verbatim makes sessions pass text on as it is stored if none of their databases knows in which encoding that is. A
// conversion would refuse what is not UTF8.
func Verbatim(ctx context.Context, conns ...*pgconn.PgConn) error {
	for _, c := range conns {
		if c.ParameterStatus("server_encoding") != "SQL_ASCII" {
			return nil
		}
	}
	for _, c := range conns {
		if _, err := c.Exec(ctx, "SET client_encoding = 'SQL_ASCII'").ReadAll(); err != nil {
			return fmt.Errorf("session settings: %w", err)
		}
	}
	return nil
}

// reportedVersion is server_version_num / 100 from what the server reported at
// start-up, such as "15.8 (Debian 15.8-1)", "9.6.24" or "18beta1"; 0 when that
// is unintelligible.
func reportedVersion(conn *pgconn.PgConn) int {
	text := conn.ParameterStatus("server_version")
	major, rest := leadingNumber(text)
	if major >= 10 {
		return major * 100
	}
	minor, _ := leadingNumber(strings.TrimPrefix(rest, "."))
	return major*100 + minor
}

func leadingNumber(text string) (n int, rest string) {
	end := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(text)
	}
	n, _ = strconv.Atoi(text[:end])
	return n, text[end:]
}
