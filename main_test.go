package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pgsyncd/testenv"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// The waiter of the shared daemon ends with the process.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("syscall.Syscall6"), goleak.IgnoreAnyFunction("os/exec.(*Cmd).Wait"))
}

// patience bounds every wait of a test.
const patience = time.Minute

var sharedDaemon = sync.OnceValues(func() (*testenv.Daemon, error) {
	return testenv.NewDaemon(context.Background(), testenv.DaemonConfig{})
})

// shared is one daemon for all tests that leave it as it is. It ends with the process.
func shared(t *testing.T) *testenv.Daemon {
	t.Helper()
	d, err := sharedDaemon()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// execute runs the program to its end.
func execute(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, testenv.Build(t), args...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || exit.ExitCode() < 0) {
		t.Fatalf("%q: %v\n%s", args, err, problems.String())
	}
	return out.String(), problems.String(), cmd.ProcessState.ExitCode()
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	data := func(name string) string { return "--data-dir=" + filepath.Join(dir, name) }
	server := testenv.Shared(t)
	catalog := "--catalog=" + server.ConnString(server.Database(t))
	for _, c := range []struct {
		args           []string
		code           int
		stdout, stderr string // parts
	}{
		{nil, 0, "pgsyncd serve [options]", ""},
		{[]string{"help"}, 0, "PGSYNCD_ADMIN_PASSWORD", ""},
		{[]string{"--help"}, 0, "--tls-required", ""},
		{[]string{"version"}, 0, "pgsyncd ", ""},
		{[]string{"--version"}, 0, "pgsyncd ", ""},
		{[]string{"start"}, 2, "", `unknown command "start"`},
		{[]string{"serve", "--help"}, 0, "", "--listen ADDR"},
		{[]string{"serve", "--nonsense"}, 2, "", "nonsense"},
		{[]string{"serve", "--listen"}, 2, "", "listen"},
		{[]string{"serve", "extra"}, 2, "", `unexpected argument "extra"`},
		{[]string{"serve", "--log-format", "xml"}, 2, "", "text or json"},
		{[]string{"serve", "--log-level", "loud"}, 2, "", "log-level"},
		{[]string{"serve", "--tls-cert", file}, 2, "", "belong together"},
		{[]string{"serve", "--tls-key", file}, 2, "", "belong together"},
		{[]string{"serve", "--tls-required"}, 2, "", "--tls-required needs"},
		{[]string{"serve", data("a"), "--tls-cert", file, "--tls-key", file}, 1, "", "--tls-cert"},
		{[]string{"serve", data("file")}, 1, "", "not a directory"},
		{[]string{"serve", data("b"), "--catalog", "host=127.0.0.1 port=1 user=u dbname=d password=hidden-word"}, 1, "", "127.0.0.1"},
		{[]string{"serve", data("c"), "--catalog", "nonsense"}, 1, "", "catalog"},
		{[]string{"serve", data("d"), catalog, "--listen", "127.0.0.1:nonsense"}, 1, "", "nonsense"},
		{[]string{"serve", data("d"), catalog, "--listen", "192.0.2.1:1"}, 1, "", "192.0.2.1"},
		{[]string{"serve", data("d"), catalog, "--listen", shared(t).Addr()}, 1, "", "in use"},
		{[]string{"serve", data("d"), catalog, "--log-format", "json", "--listen", "127.0.0.1:nonsense"}, 1, "", `"level":"ERROR"`},
		{[]string{"serve", data("f"), "--run-as", "no such user"}, 1, "", "no such user"},
		{[]string{"serve", data("e"), "--secret-key-file", file, catalog}, 1, "", "key"},
	} {
		stdout, stderr, code := execute(t, c.args...)
		if code != c.code || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) || c.stdout == "" && stdout != "" {
			t.Errorf("%q: exit code %d, want %d\nstdout: %s\nstderr: %s", c.args, code, c.code, stdout, stderr)
		}
		if strings.Contains(stderr, "hidden-word") || strings.Contains(stderr, testenv.Password) {
			t.Errorf("%q: a password in the log: %s", c.args, stderr)
		}
	}
}

// TestHelpNamesEveryOption compares the help text with what the command line takes.
func TestHelpNamesEveryOption(t *testing.T) {
	t.Parallel()
	for _, line := range strings.Split(usage, "\n") {
		for word := range strings.FieldsSeq(line) {
			name, ok := strings.CutPrefix(word, "--")
			if !ok || !strings.HasPrefix(line, "  --") {
				continue
			}
			// A known option without its value is told apart from an unknown one.
			_, stderr, code := execute(t, "serve", "--"+name+"=", "--no-such-option")
			if code != 2 || strings.Contains(stderr, "not defined: -"+name) {
				t.Errorf("--%s: %d %s", name, code, stderr)
			}
		}
	}
}

func TestDefaults(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", "/somewhere")
	var s settings
	if err := s.complete(nil); err == nil || !strings.Contains(err.Error(), "log-format") {
		t.Errorf("no log format: %v", err)
	}
	s = settings{logFormat: "text"}
	if err := s.complete(nil); err != nil {
		t.Fatal(err)
	}
	dir := "/somewhere/pgsyncd"
	if os.Geteuid() == 0 {
		dir = "/var/lib/pgsyncd"
	}
	if s.dataDir != dir || s.secretKeyFile != dir+"/secret.key" || s.connInfoDir != dir+"/conninfo" || s.listen.String() != "localhost:7432" {
		t.Errorf("%+v", s)
	}
	s = settings{logFormat: "json", dataDir: "d", secretKeyFile: "/k", connInfoDir: "/c", listen: listenFlag{"a:1", "b:2"}}
	if err := s.complete(nil); err != nil || !filepath.IsAbs(s.dataDir) || s.secretKeyFile != "/k" || s.connInfoDir != "/c" || s.listen.String() != "a:1,b:2" {
		t.Errorf("%+v %v", s, err)
	}
}

// TestLife takes a daemon through the ways in which it may end, and looks what stays.
func TestLife(t *testing.T) {
	t.Parallel()
	d := testenv.StartDaemon(t, testenv.DaemonConfig{Args: []string{"--log-level", "debug"}})
	_, stderr, code := execute(t, "serve", "--data-dir", d.DataDir(), "--listen", "127.0.0.1:0")
	if code != 1 || !strings.Contains(stderr, "in use by another pgsyncd") || !strings.Contains(stderr, strconv.Itoa(d.PID())) {
		t.Errorf("a second daemon: exit code %d\n%s", code, stderr)
	}
	d.PSQL(t, `CREATE SYNC USER olga PASSWORD '`+testenv.Password+`' ROLE OPERATOR;
		CREATE SYNC TASK shop FROM 'host=127.0.0.1 port=1 user=u dbname=d password=hidden-word' TO 'host=127.0.0.1 port=1 user=u dbname=d'
			START AT '2100-01-01 00:00Z' COMMENT 'kept' TAGS (k = 'v')`)
	const facts = `SELECT task, state, description, tags, start_at AT TIME ZONE 'UTC' FROM sync_tasks; SELECT name, role FROM sync_users ORDER BY 1`
	want := "shop|pending start|kept|{\"k\": \"v\"}|2100-01-01 00:00:00\nadmin|admin\nolga|operator"
	check := func(when string) {
		t.Helper()
		if got := d.PSQL(t, facts); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", when, got, want)
		}
		if stdout, stderr, err := d.RunPSQL(t.Context(), d.ConnString("olga"), "SELECT 'in'", "-At"); err != nil || stdout != "in\n" {
			t.Errorf("%s: olga: %v %s", when, err, stderr)
		}
	}
	check("at first")
	if shown := processes(t, d.DataDir(), testenv.Password, "hidden-word"); len(shown) > 0 {
		t.Errorf("a password in a process: %q", shown)
	}
	if err := d.Kill9(); err != nil {
		t.Fatal(err)
	}
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("after kill -9")
	clients := make(chan error, 2)
	for _, conninfo := range []string{d.SocketString(), d.ConnString("olga")} {
		go func() {
			_, _, err := d.RunPSQL(t.Context(), conninfo, "WAIT FOR SYNC TASK shop TO REACH 'completed'")
			clients <- err
		}()
	}
	testenv.Eventually(t, "both clients are connected", func() bool {
		return d.PSQL(t, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'psql'") == "3"
	})
	if err := d.Terminate(); err != nil { // reports an exit code other than 0
		t.Error(err)
	}
	for range 2 {
		if err := <-clients; err == nil {
			t.Error("a client's statement ended well although the daemon did not go on")
		}
	}
	if left := processes(t, d.DataDir()); len(left) > 0 {
		t.Errorf("processes are left: %q", left)
	}
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("after SIGTERM")
	for _, word := range []string{testenv.Password, "hidden-word"} {
		if strings.Contains(readLog(t, d), word) {
			t.Errorf("%q in the log", word)
		}
	}
	if info, err := os.Stat(filepath.Join(d.DataDir(), "secret.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("secret.key: %v %v", info, err)
	}
}

func readLog(t *testing.T, d *testenv.Daemon) string {
	t.Helper()
	content, err := os.ReadFile(d.LogFile())
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// processes lists the command lines of those that work below a directory. If words are given, only what shows one of them, in
// the command line or, where a child of the daemon got it, in the environment.
func processes(t *testing.T, dir string, words ...string) []string {
	t.Helper()
	var found []string
	paths, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		// Processes come and go.
		cwd, _ := os.Readlink(path + "/cwd")
		command, _ := os.ReadFile(path + "/cmdline")
		environment, _ := os.ReadFile(path + "/environ")
		if !strings.HasPrefix(cwd, dir) && !bytes.Contains(command, []byte(dir)) {
			continue
		}
		text := string(command)
		if !bytes.Contains(command, []byte("\x00serve\x00")) {
			text += string(environment)
		}
		shows := len(words) == 0
		for _, word := range words {
			shows = shows || strings.Contains(text, word)
		}
		if shows {
			found = append(found, string(command))
		}
	}
	return found
}
