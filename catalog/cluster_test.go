package catalog

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// holdEnv makes the test binary open the catalog in the directory it names, say so and wait to be killed.
const holdEnv = "CATALOG_TEST_HOLD"

func hold(dir string) {
	c, err := Open(context.Background(), Config{DataDir: dir, Logger: silent()})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	if _, err := c.CreateTask(context.Background(), sample("held")); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("open")
	select {}
}

func sample(name string) Task {
	return Task{
		Name: name, Mode: "full", Scope: "ALL", SQL: "CREATE SYNC TASK", Source: "host=a password=s3cret", Destination: "host=b password=t0p",
		SourceText: "host=a", DestinationText: "host=b", CreatedBy: "admin",
	}
}

// A daemon that is killed leaves a directory, and perhaps a server, from which the next one goes on.
func TestKilledDaemon(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	for range 2 {
		cmd := exec.Command(os.Args[0], "-test.run=^$") //nolint:gosec,noctx // this very binary
		cmd.Env = append(os.Environ(), holdEnv+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		if line != "open\n" {
			t.Errorf("child says %q, %v", line, err)
		}
		if _, err := Open(t.Context(), Config{DataDir: dir, Logger: silent()}); err == nil {
			t.Error("a second daemon opened the directory")
		} else {
			t.Log(err)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		c, err := Open(t.Context(), Config{DataDir: dir, Logger: silent()})
		if err != nil {
			t.Fatal(err)
		}
		task, err := c.Task(t.Context(), "held")
		if err != nil {
			t.Fatal(err)
		}
		if task.Source.Reveal() != "host=a password=s3cret" {
			t.Errorf("source %q", task.Source.Reveal())
		}
		if err := c.DropTask(t.Context(), task.ID); err != nil {
			t.Fatal(err)
		}
		shut(t, c)
	}
}
