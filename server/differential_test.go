package server

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"
	wire "github.com/jackc/pgx/v5/pgproto3"
	"pgregory.net/rapid"
)

// The oracle of the differential test: a control statement that neither changes anything nor returns rows behaves in every respect
// like a statement of PostgreSQL that does nothing, but for its command tag.
const (
	controlSQL = "WAIT FOR SYNC TASK quick CAUGHT UP"
	controlTag = "WAIT FOR SYNC TASK"
	oracleSQL  = "UNLISTEN nothing"
	oracleTag  = "UNLISTEN"
)

const lastWords = "the end"

// TestConversationsEqualPostgreSQL sends random conversations, all frames at once, to the server and to PostgreSQL itself.
func TestConversationsEqualPostgreSQL(t *testing.T) {
	t.Parallel()
	h := setup(t)
	rapid.Check(t, func(rt *rapid.T) {
		messages := rapid.SliceOfN(rapid.Custom(message), 1, 40).Draw(rt, "messages")
		before := len(h.control.statements())
		got, err := converse(t, h.local(), messages, controlSQL)
		if err != nil {
			rt.Fatalf("server: %v\n%s", err, got)
		}
		want, err := converse(t, h.backend.conninfo, messages, oracleSQL)
		if err != nil {
			rt.Fatalf("PostgreSQL: %v\n%s", err, want)
		}
		want = strings.ReplaceAll(want, "CommandComplete "+oracleTag+"\n", "CommandComplete "+controlTag+"\n")
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Fatalf("conversation (-PostgreSQL +server):\n%s", diff)
		}
		ran := len(h.control.statements()) - before
		if completed := strings.Count(got, "CommandComplete "+controlTag); ran != completed {
			rt.Fatalf("%d control statements ran, %d were completed:\n%s", ran, completed, got)
		}
	})
}

// message draws one message as the transcripts write it.
func message(t *rapid.T) string {
	name := func() string { return rapid.SampledFrom([]string{"", "", "x", "y"}).Draw(t, "name") }
	query := func() string {
		return rapid.SampledFrom([]string{
			"CONTROL", "CONTROL", "CONTROL", "SELECT 1", "SELECT n FROM generate_series(1, 3) n", "SELECT 1/0", "BEGIN", "COMMIT", "ROLLBACK",
			"SAVEPOINT s", "ROLLBACK TO s", "", "SELECT FROM WHERE", "SELECT 1 FROM nowhere", "DEALLOCATE x", "DISCARD ALL", "CLOSE ALL", "DEALLOCATE ALL",
			"DECLARE x CURSOR FOR SELECT 5", "COPY (SELECT 1) TO STDOUT", "SELECT $1::int",
		}).Draw(t, "query")
	}
	switch kind := rapid.SampledFrom([]string{
		"Parse", "Parse", "Bind", "Bind", "Execute", "Execute", "DescribeStatement", "DescribePortal", "CloseStatement", "ClosePortal",
		"Sync", "Sync", "Flush", "Query", "CopyData", "Cycle", "Cycle",
	}).Draw(t, "kind"); kind {
	case "Parse":
		return fmt.Sprintf("Parse %q %q", name(), query())
	case "Bind":
		return fmt.Sprintf("Bind %q %q", name(), name())
	case "Execute":
		return fmt.Sprintf("Execute %q %d", name(), rapid.IntRange(0, 2).Draw(t, "rows"))
	case "Query":
		return fmt.Sprintf("Query %q", query())
	case "Cycle": // what a driver sends for one statement
		return fmt.Sprintf("Parse \"\" %q\nBind \"\" \"\"\nExecute \"\"", query())
	case "Sync", "Flush":
		return kind
	default:
		return fmt.Sprintf("%s %q", kind, name())
	}
}

// converse plays messages and returns the answers up to those to a last query.
func converse(t *testing.T, conninfo string, messages []string, control string) (string, error) {
	t.Helper()
	conn, err := pgconn.Connect(t.Context(), conninfo)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := hijack(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = raw.Conn.Close() }()
	p := &player{t: t, conn: raw.Conn}
	for _, m := range messages {
		for line := range strings.Lines(m) {
			p.send = append(p.send, p.frameOf(strings.ReplaceAll(line, "CONTROL", control))...)
		}
	}
	p.send = append(p.send, encodeFrontend(&wire.Sync{})...)
	p.send = append(p.send, encodeFrontend(&wire.Query{String: "SELECT '" + lastWords + "'"})...)
	p.send = append(p.send, encodeFrontend(&wire.Query{String: "ROLLBACK"})...)
	p.send = append(p.send, encodeFrontend(&wire.Query{String: "SELECT '" + lastWords + "'"})...)
	p.write()
	return listen(raw.Conn)
}

// listen renders what comes up to the answer to the last query.
func listen(conn net.Conn) (string, error) {
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	var out strings.Builder
	for ended := false; ; {
		kind, text, err := receive(conn)
		if err != nil || kind == '$' {
			return out.String(), fmt.Errorf("connection ended: %w", err)
		}
		fmt.Fprintln(&out, text)
		if kind == 'C' {
			ended = strings.Contains(out.String(), "CommandComplete ROLLBACK\nReadyForQuery I\nRowDescription ?column?:25:0\nDataRow [\""+lastWords+"\"]")
		}
		if kind == 'Z' && ended {
			return out.String(), nil
		}
	}
}
