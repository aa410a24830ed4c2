package testenv

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// stand-ins for the daemon, as far as its process goes.
const (
	obedient = `#!/bin/sh
echo 'LOG:  database system is ready to accept connections'
trap 'kill $!; exit 0' TERM
sleep 1000 &
echo "level=INFO msg=ready args=$*" >&2
wait
`
	stubborn = `#!/bin/sh
trap '' TERM
echo '{"level":"INFO","msg":"ready","addr":"x"}'
kill -TERM $$
echo survived
exec sleep 1000
`
	failing = `#!/bin/sh
echo 'database system is ready to accept connections'
echo 'msg="no such option"'
exit 3
`
)

func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "daemon")
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDaemonLifecycle(t *testing.T) {
	t.Parallel()
	d := StartDaemon(t, DaemonConfig{Bin: script(t, obedient), Args: []string{"--log-level", "debug"}})
	first := d.PID()
	if err := d.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d.PID() == first {
		t.Error("same process after Restart")
	}
	log, err := os.ReadFile(d.LogFile())
	if err != nil {
		t.Fatal(err)
	}
	want := "args=serve --listen " + d.Addr() + " --data-dir " + d.DataDir() + " --log-level debug"
	if strings.Count(string(log), want) != 2 {
		t.Errorf("want %q twice in the log:\n%s", want, log)
	}
	if err := d.Kill9(); err != nil || d.Running() {
		t.Errorf("Kill9: %v, runs: %v", err, d.Running())
	}
	if err := d.Destroy(); err != nil {
		t.Error(err)
	}
	if pids := processesBelow(filepath.Dir(d.LogFile())); len(pids) > 0 {
		t.Errorf("processes %v are left", pids)
	}
}

func TestDaemonThatIgnoresTermination(t *testing.T) {
	t.Parallel()
	d := StartDaemon(t, DaemonConfig{Bin: script(t, stubborn)})
	if err := d.Kill9(); err != nil {
		t.Fatal(err)
	}
	if err := d.Terminate(); err != nil {
		t.Errorf("terminate what does not run: %v", err)
	}
}

func TestDaemonThatDoesNotStart(t *testing.T) {
	t.Parallel()
	_, err := NewDaemon(t.Context(), DaemonConfig{Bin: script(t, failing)})
	if err == nil || !strings.Contains(err.Error(), "no such option") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("want status and log in the error, got %v", err)
	}
}
