package server

import (
	"context"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgsyncd/sqlapi"
	"pgsyncd/testenv"

	"github.com/jackc/pgx/v5"
	wire "github.com/jackc/pgx/v5/pgproto3"
)

// cancelFirst sends a cancel request for conn.
func (h *harness) cancelFirst(tb testing.TB, conn *pgx.Conn) {
	tb.Helper()
	if err := conn.PgConn().CancelRequest(tb.Context()); err != nil {
		tb.Fatal(err)
	}
}

// eventually waits for a condition.
func eventually(tb testing.TB, what string, condition func() bool) {
	tb.Helper()
	testenv.Eventually(tb, what, condition)
}

// sessions counts the server's sessions.
func (h *harness) sessions() int { return len(h.server.snapshot()) }

// executing waits until PostgreSQL is executing a query with the text in it.
func (h *harness) executing(tb testing.TB, text string) {
	tb.Helper()
	db := h.db(tb)
	eventually(tb, text+" is executing", func() bool {
		var n int
		err := db.QueryRow(tb.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid() AND strpos(query, $1) > 0`, text).Scan(&n)
		if err != nil {
			tb.Fatal(err)
		}
		return n > 0
	})
}

// waiting waits until a WAIT statement is executing.
func (h *harness) waiting(tb testing.TB) {
	tb.Helper()
	for {
		select {
		case tag := <-h.control.running:
			if tag == "WAIT FOR SYNC TASK" {
				return
			}
		case <-time.After(patience):
			tb.Fatal("waited in vain until a statement is executing")
		}
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	h := setup(t)
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		conn := h.connect(t)
		done := make(chan error, 1)
		go func() {
			_, err := conn.Exec(t.Context(), "WAIT FOR SYNC TASK a CAUGHT UP", mode)
			done <- err
		}()
		h.waiting(t)
		h.cancelFirst(t, conn)
		if pg := pgError(t, <-done, "57014"); pg.Message != "canceling statement due to user request" {
			t.Errorf("message %q", pg.Message)
		}
		go func() {
			_, err := conn.Exec(t.Context(), "SELECT pg_sleep(1000)", mode)
			done <- err
		}()
		h.executing(t, "pg_sleep")
		h.cancelFirst(t, conn)
		wantCode(t, <-done, "57014")
		if _, err := conn.Exec(t.Context(), "START SYNC TASK a", mode); err != nil {
			t.Errorf("the session does not go on: %v", err)
		}
	}
}

func TestCancelNeedsTheKey(t *testing.T) {
	t.Parallel()
	h := setup(t)
	conn := h.connect(t)
	done := make(chan error, 1)
	go func() {
		_, err := conn.Exec(t.Context(), "WAIT FOR SYNC TASK a CAUGHT UP")
		done <- err
	}()
	h.waiting(t)
	c := h.server.snapshot()[0]
	for _, packet := range [][]byte{
		{0, 0, 0, 16, 4, 0xd2, 0x16, 0x2e, 0, 0, 0, byte(c.pid), 0, 0, 0, 0},
		{0, 0, 0, 16, 4, 0xd2, 0x16, 0x2e, 0, 0, 0, 200, byte(c.key >> 24), byte(c.key >> 16), byte(c.key >> 8), byte(c.key)},
	} {
		p := &player{t: t, h: h, send: packet}
		p.connect("tcp")
		p.read("$", &p.out)
		p.hangUp()
	}
	if c.cancel == nil {
		t.Error("a cancel request with a wrong key was served")
	}
	h.cancelFirst(t, conn)
	wantCode(t, <-done, "57014")
}

func TestPsqlInterrupt(t *testing.T) {
	t.Parallel()
	h := setup(t)
	cmd := exec.CommandContext(t.Context(), "psql", "-X", h.local(), "-c", "WAIT FOR SYNC TASK a CAUGHT UP")
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h.waiting(t)
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if !strings.Contains(out.String(), "NOTICE:  waiting") || !strings.Contains(out.String(), "canceling statement due to user request") {
		t.Errorf("psql printed %q", out.String())
	}
}

func TestClientLeavesDuringStatement(t *testing.T) {
	t.Parallel()
	h := setup(t)
	for _, query := range []string{"WAIT FOR SYNC TASK a CAUGHT UP", "SELECT pg_sleep(1000)"} {
		p := &player{t: t, h: h}
		p.line("login")
		p.send = encodeFrontend(&wire.Query{String: query})
		p.write()
		if query[0] == 'W' {
			h.waiting(t)
		} else {
			h.executing(t, "pg_sleep")
		}
		p.hangUp()
		eventually(t, "the session has ended", func() bool { return h.sessions() == 0 })
	}
	db := h.db(t)
	eventually(t, "PostgreSQL has ended the sleeper", func() bool {
		var n int
		err := db.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE '%pg_sleep%'`).Scan(&n)
		return err == nil && n == 0
	})
	h.control.mu.Lock()
	defer h.control.mu.Unlock()
	if h.control.released != 2 {
		t.Errorf("%d sessions were released, want 2", h.control.released)
	}
}

func TestPanicEndsOneSession(t *testing.T) {
	t.Parallel()
	h := setup(t)
	other := h.connect(t)
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		conn := h.connect(t)
		_, err := conn.Exec(t.Context(), "START SYNC TASK panicking", mode)
		if pg := pgError(t, err, "XX000"); pg.SeverityUnlocalized != "FATAL" {
			t.Errorf("severity %s", pg.SeverityUnlocalized)
		}
	}
	if _, err := other.Exec(t.Context(), "START SYNC TASK a"); err != nil {
		t.Errorf("the other session: %v", err)
	}
}

func TestBackendLost(t *testing.T) {
	t.Parallel()
	h := setup(t)
	conn := h.connect(t)
	done := make(chan error, 1)
	go func() {
		_, err := conn.Exec(t.Context(), "SELECT pg_sleep(1000)")
		done <- err
	}()
	h.executing(t, "pg_sleep")
	if _, err := h.db(t).Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND query LIKE '%pg_sleep(1000)%' AND pid <> pg_backend_pid()`); err != nil {
		t.Fatal(err)
	}
	wantCode(t, <-done, "57P01")
	eventually(t, "the session has ended", func() bool { return h.sessions() == 0 })

	p := &player{t: t, h: h}
	p.line("login")
	_ = h.server.snapshot()[0].backend.Conn.(*socket).stream.(*net.TCPConn).CloseRead()
	p.read("E$", &p.out)
	if !strings.Contains(p.out.String(), "FATAL FATAL 57P01") {
		t.Errorf("the client was told %s", p.out.String())
	}
}

func TestShutdown(t *testing.T) {
	t.Parallel()
	h := setup(t)
	idle := &player{t: t, h: h}
	idle.line("login")
	waiting, sleeping, stuck := h.connect(t), h.connect(t), h.connect(t)
	done := make(chan error, 2)
	go func() {
		_, err := waiting.Exec(t.Context(), "WAIT FOR SYNC TASK a CAUGHT UP")
		done <- err
	}()
	go func() {
		_, err := sleeping.Exec(t.Context(), "SELECT pg_sleep(1000)")
		done <- err
	}()
	h.waiting(t)
	h.executing(t, "pg_sleep")
	if _, err := stuck.PgConn().Conn().Write(encodeFrontend(&wire.Query{String: "SELECT * FROM numbers a, numbers b"})); err != nil {
		t.Fatal(err) // and never reads
	}
	h.executing(t, "numbers a")
	pending, err := new(net.Dialer).DialContext(t.Context(), "tcp", h.server.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pending.Close() }()
	h.stop()
	codes := map[string]bool{}
	for range 2 {
		if err := <-done; err != nil {
			codes[sqlapi.AsError(err).Code] = true
		}
	}
	if !codes["57P01"] {
		t.Errorf("clients were told %v", codes)
	}
	idle.read("E$", &idle.out)
	if !strings.Contains(idle.out.String(), `57P01 "terminating connection due to administrator command"`) {
		t.Errorf("the idle client was told %s", idle.out.String())
	}
}

func TestTerminateFinishesWhatWasSent(t *testing.T) {
	t.Parallel()
	h := setup(t)
	p := &player{t: t, h: h}
	p.line("login")
	for _, line := range []string{`> Query "SELECT pg_sleep(0.1); SELECT 1 AS one"`, `> Query "START SYNC TASK last"`, "> Terminate", "wait CCZCZ$"} {
		p.line(line)
	}
	if got := h.control.statements(); len(got) != 1 {
		t.Errorf("statements that ran: %q", got)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	h := setup(t, func(c *Config) {
		c.StatementTimeout, c.IdleInTransactionTimeout = 200*time.Millisecond, 200*time.Millisecond
		c.ControlTimeout = 200 * time.Millisecond
	})
	ctx := t.Context()
	conn := h.connect(t)
	_, err := conn.Exec(ctx, "SELECT pg_sleep(1000)")
	if pg := pgError(t, err, "57014"); pg.Message != "canceling statement due to statement timeout" {
		t.Errorf("message %q", pg.Message)
	}
	_, err = conn.Exec(ctx, "WAIT FOR SYNC TASK a CAUGHT UP")
	if pg := pgError(t, err, "57014"); pg.Message != "canceling statement due to statement timeout" {
		t.Errorf("message %q", pg.Message)
	}
	p := &player{t: t, h: h}
	p.line("login")
	p.line(`> Query "BEGIN"`)
	p.line("wait ZE$")
	if !strings.Contains(p.out.String(), "FATAL FATAL 25P03") {
		t.Errorf("idle in a block:\n%s", p.out.String())
	}
	p = &player{t: t, h: h}
	p.line("login")
	for _, line := range []string{`> Parse "" "SELECT n FROM numbers"`, `> Bind "" ""`, `> Execute "" 1`, "> Flush", "wait sE$"} {
		p.line(line)
	}
	if !strings.Contains(p.out.String(), "FATAL FATAL 25P03") {
		t.Errorf("idle in an implicit transaction:\n%s", p.out.String())
	}
}

func TestStatementThatCannotBeCanceled(t *testing.T) {
	t.Parallel()
	h := setup(t)
	p := &player{t: t, h: h}
	p.line("login")
	p.send = encodeFrontend(&wire.Query{String: "SELECT * FROM numbers a, numbers b"})
	p.write() // and never reads
	db := h.db(t)
	eventually(t, "the backend waits for the client", func() bool {
		var n int
		err := db.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event = 'ClientWrite'`).Scan(&n)
		return err == nil && n == 1
	})
	c := h.server.snapshot()[0]
	soon := time.Now().Add(h.server.cfg.StatementTimeout + time.Second)
	if !c.checkLimits(soon) || c.checkLimits(soon) {
		t.Error("an overdue statement is to be canceled once")
	}
	c.cancelBackend(t.Context())
	if c.checkLimits(soon) || h.sessions() != 1 {
		t.Error("the session ended while its statement may still be canceled")
	}
	c.checkLimits(soon.Add(cancelGrace))
	eventually(t, "the session has ended", func() bool { return h.sessions() == 0 })
	p.hangUp()
}

func TestSessionAge(t *testing.T) {
	t.Parallel()
	h := setup(t, func(c *Config) { c.MaxSessionAge = 100 * time.Millisecond })
	p := &player{t: t, h: h}
	p.line("login")
	p.line("wait E$")
	if !strings.Contains(p.out.String(), "maximum session age") {
		t.Error(p.out.String())
	}
}

func TestEncodings(t *testing.T) {
	t.Parallel()
	h := setup(t)
	ctx := t.Context()
	simple := pgx.QueryExecModeSimpleProtocol
	conn := h.connect(t)
	set := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(ctx, sql, simple); err != nil {
			t.Fatal(err)
		}
	}
	exec := func(sql string) error {
		_, err := conn.PgConn().Exec(ctx, sql).ReadAll()
		return err
	}
	wantCode(t, exec("START SYNC TASK \"\xff\""), "22021")
	set("SET client_encoding = LATIN1")
	wantCode(t, exec("START SYNC TASK \"\xe9\""), "22021")
	if err := exec("SELECT '\xe9'"); err != nil {
		t.Errorf("plain SQL in LATIN1: %v", err)
	}
	if err := exec("START SYNC TASK a"); err != nil {
		t.Errorf("ASCII control statement in LATIN1: %v", err)
	}
	set("SET client_encoding = SJIS")
	wantCode(t, exec("SELECT E'\x95\x5c'"), "0A000")
	if err := exec("SELECT 'ascii'; START SYNC TASK a"); err != nil {
		t.Errorf("ASCII in SJIS: %v", err)
	}
	set("SET client_encoding = UTF8")
	wantCode(t, exec("SET standard_conforming_strings = off"), "0A000")
	set("SELECT set_config('standard_conforming_strings', 'off', false)")
	wantCode(t, exec(`SELECT '\''; CREATE TABLE x(); --'`), "0A000")
	set("RESET standard_conforming_strings")
	if err := exec(`SELECT '\'`); err != nil {
		t.Error(err)
	}
}

func TestTooMuchPrepared(t *testing.T) {
	t.Parallel()
	h := setup(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn := h.connect(t)
	comment := "/*" + strings.Repeat("x", maxControlText-100) + "*/"
	_, err := conn.Exec(ctx, "START SYNC TASK a "+comment+comment+", b", pgx.QueryExecModeExec)
	wantCode(t, err, "54000")
	for i := range maxControlHeld/maxControlText + 2 {
		if _, err = conn.Prepare(ctx, strings.Repeat("s", i+1), "START SYNC TASK a "+comment+", b"); err != nil {
			break
		}
	}
	wantCode(t, err, "53400")
	if err := conn.DeallocateAll(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Prepare(ctx, "again", "START SYNC TASK a "+comment+", b"); err != nil {
		t.Errorf("after DEALLOCATE ALL: %v", err)
	}
}
