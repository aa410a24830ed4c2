package catalog

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pgsyncd/testenv"
)

// holdEnv makes the test binary open the catalog in the directory it names, say so and wait to be killed.
const holdEnv = "CATALOG_TEST_HOLD"

// A killed daemon takes its server with it.
func TestServerDiesWithItsDaemon(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	cmd := holder(t, dir)
	kill(t, cmd.Process.Pid)
	_ = cmd.Wait()
	testenv.Eventually(t, "the server dies", func() bool {
		pids, err := workingIn(filepath.Join(dir, "catalog", "data"))
		if err != nil {
			t.Fatal(err)
		}
		return len(pids) == 0
	})
}

func hold(dir string) {
	c, err := Open(context.Background(), Config{DataDir: dir, Logger: silent()})
	if err == nil {
		_, err = c.CreateTask(context.Background(), sample(fmt.Sprintf("held by %d", os.Getpid())))
	}
	if err != nil {
		fmt.Println(err) //nolint:forbidigo // read by the test
		os.Exit(1)
	}
	fmt.Println("open") //nolint:forbidigo // read by the test
	select {}
}

// holder runs this test binary as a daemon that holds the catalog.
func holder(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$") // this very binary
	cmd.Env = append(os.Environ(), holdEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "open\n" {
		t.Fatalf("the holder says %q, %v", line, err)
	}
	return cmd
}

func sample(name string) Task {
	return Task{
		Name: name, Mode: "full", Scope: "ALL", SQL: "CREATE SYNC TASK", Source: "host=a password=s3cret", Destination: "host=b password=t0p",
		SourceText: "host=a", DestinationText: "host=b", CreatedBy: "admin",
	}
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if pid <= 1 {
		t.Fatalf("no process %d", pid)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatalf("kill %d: %v", pid, err)
	}
}

// A daemon that is killed leaves a directory, and perhaps a server or a part of one, from which the next one goes on.
func TestKilledDaemon(t *testing.T) {
	t.Parallel()
	for name, more := range map[string]func(*testing.T, string){
		"alone":               func(*testing.T, string) {},
		"before its server":   func(t *testing.T, data string) { t.Helper(); kill(t, postmasterPID(data)) },
		"its server survives": func(t *testing.T, data string) { t.Helper(); freeze(t, data) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := dataDir(t)
			cmd := holder(t, dir)
			_, err := Open(t.Context(), Config{DataDir: dir, Logger: silent()})
			if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("in use by another pgsyncd (process %d)", cmd.Process.Pid)) {
				t.Errorf("a second daemon: %v", err)
			}
			more(t, filepath.Join(dir, "catalog", "data"))
			kill(t, cmd.Process.Pid)
			_ = cmd.Wait()
			c := open(t, Config{DataDir: dir})
			task, err := c.Task(t.Context(), fmt.Sprintf("held by %d", cmd.Process.Pid))
			if err != nil {
				t.Fatal(err)
			}
			if task.Source.Reveal() != "host=a password=s3cret" {
				t.Errorf("source %q", task.Source.Reveal())
			}
		})
	}
}

// freeze stops a server's postmaster so that the death signal of its daemon has no effect for the time being.
func freeze(t *testing.T, data string) {
	t.Helper()
	if err := syscall.Kill(postmasterPID(data), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
}

func TestOpenAgain(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	for i := range 2 {
		c, err := Open(t.Context(), Config{DataDir: dir, Logger: silent(), AdminPassword: fmt.Sprint(i)})
		if err != nil {
			t.Fatal(err)
		}
		admin, err := c.User(t.Context(), "admin")
		if err != nil || admin.Role != "admin" || !accepts(t, admin.Verifier, "0") {
			t.Errorf("%+v, %v", admin, err)
		}
		shut(t, c)
		if pids, err := workingIn(filepath.Join(dir, "catalog", "data")); err != nil || len(pids) > 0 {
			t.Errorf("still running: %v, %v", pids, err)
		}
	}
}

func TestServerIsRestarted(t *testing.T) {
	t.Parallel()
	c := private(t)
	task := create(t, c, sample("shop"))
	for range 2 {
		pid := postmasterPID(c.cluster.data)
		kill(t, pid)
		testenv.Eventually(t, "the server is back", func() bool {
			_, err := c.TaskByID(t.Context(), task.ID)
			now := postmasterPID(c.cluster.data) // a backend of the former may still answer
			return err == nil && now != 0 && now != pid
		})
	}
	select {
	case err := <-c.Err():
		t.Error(err)
	default:
	}
}

func TestServerThatDoesNotComeBackIsReported(t *testing.T) {
	t.Parallel()
	c := private(t)
	name := filepath.Join(c.cluster.data, "global", "pg_control")
	if err := os.Rename(name, name+".away"); err != nil {
		t.Fatal(err)
	}
	kill(t, postmasterPID(c.cluster.data))
	select {
	case err := <-c.Err():
		if !strings.Contains(err.Error(), "pg_control") {
			t.Errorf("the cause is missing: %v", err)
		}
	case <-t.Context().Done():
		t.Fatal("not reported")
	}
}

func TestOtherVersionIsRefused(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	data := filepath.Join(dir, "catalog", "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "PG_VERSION"), []byte("12\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), Config{DataDir: dir, Logger: silent()})
	if err == nil || !strings.Contains(err.Error(), "made by PostgreSQL 12") || !strings.Contains(err.Error(), "installed: 1") {
		t.Errorf("got %v", err)
	}
}

func TestChooseBinaries(t *testing.T) {
	t.Parallel()
	found := []binaries{{"old", 12}, {"a", 15}, {"b", 17}, {"c", 15}}
	for major, want := range map[int]string{0: "a", 17: "b", 15: "a"} {
		if got, err := chooseBinaries(found, major); err != nil || got.dir != want {
			t.Errorf("%d: %v, %v", major, got, err)
		}
	}
	if _, err := chooseBinaries(found, 16); err == nil || !strings.Contains(err.Error(), "installed: 12, 15, 17") {
		t.Error(err)
	}
	if _, err := chooseBinaries(found[:1], 0); err == nil {
		t.Error("12 was chosen for a new catalog")
	}
	if _, err := chooseBinaries(nil, 0); err == nil || !strings.Contains(err.Error(), "none are installed") {
		t.Error(err)
	}
}

// A path that does not fit into a socket's address moves the socket, and a killed daemon's one is removed.
func TestLongPath(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(dataDir(t), strings.Repeat("long", 25), "it's")
	if err := os.MkdirAll(dir, 0o711); err != nil { // the user of the servers passes through
		t.Fatal(err)
	}
	cmd := holder(t, dir)
	pid, err := os.ReadFile(filepath.Join(dir, "catalog", "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	run := strings.Split(string(pid), "\n")[4]
	if info, err := os.Stat(run); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%s: %v, %v", run, info, err)
	}
	freeze(t, filepath.Join(dir, "catalog", "data"))
	kill(t, cmd.Process.Pid)
	_ = cmd.Wait()
	c, err := Open(t.Context(), Config{DataDir: dir, Logger: silent()})
	if err != nil {
		t.Fatal(err)
	}
	shut(t, c)
	for _, run := range []string{run, c.cluster.run} {
		if _, err := os.Stat(run); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", run, err)
		}
	}
}

// In a container the process id of yesterday's server soon belongs to somebody else.
func TestForeignProcessID(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	openAndShut := func() {
		c, err := Open(t.Context(), Config{DataDir: dir, Logger: silent()})
		if err != nil {
			t.Fatal(err)
		}
		shut(t, c)
	}
	openAndShut()
	for _, text := range []string{fmt.Sprintf("%d\n%s\n", os.Getpid(), dir), "1\n", "", "nonsense"} {
		if err := os.WriteFile(filepath.Join(dir, "catalog", "data", "postmaster.pid"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		openAndShut()
	}
}

func TestInterruptedInit(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	left := filepath.Join(dir, "catalog", "init-1", "base")
	if err := os.MkdirAll(left, 0o711); err != nil { // as the daemon makes it
		t.Fatal(err)
	}
	open(t, Config{DataDir: dir})
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left: %v", err)
	}
}

func TestPrivateClusterIsPrivate(t *testing.T) {
	t.Parallel()
	c := private(t)
	want := map[string]string{
		"listen_addresses": "", "fsync": "on", "synchronous_commit": "on", "wal_level": "minimal", "max_wal_senders": "0", "autovacuum": "on",
		"shared_buffers": "32MB", "server_encoding": "UTF8", "unix_socket_permissions": "0700", "search_path": "pgsyncd",
	}
	for name, value := range want {
		if got := query(t, c.pool, "SELECT current_setting($1)", name); got[0] != value {
			t.Errorf("%s = %s", name, got[0])
		}
	}
	if got := query(t, c.pool, "SELECT lower('ÄÖ')"); got[0] != "äö" {
		t.Errorf("lower gives %s", got[0])
	}
	for _, dir := range []string{c.cluster.dir, c.cluster.data, c.cluster.run} {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", dir, info, err)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	for field, cfg := range map[string]Config{
		"DataDir": {DataDir: "relative", Logger: silent()},
		"Logger":  {DataDir: "/nowhere"},
	} {
		if _, err := Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	if os.Geteuid() != 0 {
		_, err := Open(t.Context(), Config{DataDir: dataDir(t), RunAs: "root", Logger: silent()})
		if err == nil || !strings.Contains(err.Error(), "only root") {
			t.Errorf("run as another user: %v", err)
		}
		return
	}
	for _, name := range []string{"root", "no such user"} {
		_, err := Open(t.Context(), Config{DataDir: dataDir(t), RunAs: name, Logger: silent()})
		if err == nil || !strings.Contains(err.Error(), "run as "+name) {
			t.Errorf("run as %s: %v", name, err)
		}
	}
	closed := filepath.Join(dataDir(t), "closed")
	if err := os.MkdirAll(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), Config{DataDir: filepath.Join(closed, "d"), Logger: silent()})
	if err == nil || !strings.Contains(err.Error(), "search permission") {
		t.Errorf("unreachable directory: %v", err)
	}
}
