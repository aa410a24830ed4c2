package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"pgsyncd/testenv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// database is the name of the database under test, on both sides.
const database = "bench"

// lab is two servers, a daemon and a place for files.
type lab struct {
	*testenv.Trio
	dir string   // for dumps; on the same disk as the clusters
	env []string // of the tools

	tool float64 // CPU seconds of the tools run since it was set to zero
}

// newLab starts everything. Settings are PostgreSQL's defaults but for the size of the buffers, what logical decoding needs, and the
// given ones.
func newLab(ctx context.Context, more map[string]string) (*lab, error) {
	bin, err := testenv.ClientBin(ctx, testenv.DefaultVersion)
	if err != nil {
		return nil, err
	}
	l := &lab{env: []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "LANG=C.UTF-8"}}
	server := func(level string) testenv.Config {
		settings := map[string]string{"shared_buffers": "1GB", "wal_level": level, "dynamic_shared_memory_type": "posix"}
		maps.Copy(settings, more)
		return testenv.Config{Fsync: true, Settings: settings}
	}
	if l.Trio, err = testenv.NewTrio(ctx, server("logical"), server("replica")); err != nil {
		return nil, err
	}
	if l.dir, err = os.MkdirTemp(filepath.Dir(l.Source.DataDir()), "dump"); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// clear gives the next contender an empty database and idle servers.
func (l *lab) clear(ctx context.Context, db string) error {
	if err := l.Destination.DropDatabase(ctx, db); err != nil {
		return err
	}
	if err := execute(ctx, l.Destination, "postgres", "CREATE DATABASE "+db); err != nil {
		return err
	}
	if err := l.emptyDir(); err != nil {
		return err
	}
	return l.checkpoint(ctx)
}

func (l *lab) checkpoint(ctx context.Context) error {
	for _, c := range []*testenv.Cluster{l.Source, l.Destination} {
		if err := execute(ctx, c, "postgres", "CHECKPOINT"); err != nil {
			return err
		}
	}
	return nil
}

func (l *lab) emptyDir() error {
	entries, err := os.ReadDir(l.dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(l.dir, e.Name())))
	}
	return err
}

// run executes tools as one pipeline and adds up their CPU time. Messages of those that fail are in the error.
func (l *lab) run(ctx context.Context, pipeline ...[]string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	commands := make([]*exec.Cmd, len(pipeline))
	messages := make([]bytes.Buffer, len(pipeline))
	var ends []io.Closer // our copies of the pipes' ends
	defer func() {
		for _, e := range ends {
			_ = e.Close()
		}
	}()
	for i, args := range pipeline {
		cmd := exec.CommandContext(ctx, l.program(args[0]), args[1:]...)
		cmd.Env, cmd.Dir, cmd.Stderr = l.env, l.dir, &messages[i]
		if commands[i] = cmd; i == 0 {
			continue
		}
		read, write, err := os.Pipe()
		if err != nil {
			return err
		}
		commands[i-1].Stdout, cmd.Stdin, ends = write, read, append(ends, read, write)
	}
	var errs []error
	started := 0
	for _, cmd := range commands {
		if err := cmd.Start(); err != nil {
			errs = append(errs, err)
			cancel()
			break
		}
		started++
	}
	for _, e := range ends { // else nobody would see the end of what comes before
		_ = e.Close()
	}
	for i, cmd := range commands[:started] {
		if err := cmd.Wait(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w\n%s", filepath.Base(cmd.Path), err, tail(messages[i].String())))
		}
		l.tool += (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	}
	return errors.Join(errs...)
}

// output runs a tool and returns what it printed.
func (l *lab) output(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, l.program(args[0]), args[1:]...)
	var messages bytes.Buffer
	cmd.Env, cmd.Dir, cmd.Stderr = l.env, l.dir, &messages
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", filepath.Base(cmd.Path), err, tail(messages.String()))
	}
	return out, err
}

// program prefers the directory of PostgreSQL's programs: distributions put slow wrappers into PATH.
func (l *lab) program(name string) string {
	dir, _, _ := strings.Cut(strings.TrimPrefix(l.env[0], "PATH="), ":")
	if path := filepath.Join(dir, name); fileExists(path) {
		return path
	}
	return name
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func tail(text string) string { return text[max(0, len(text)-4096):] }

// control runs a statement on the daemon.
func (l *lab) control(ctx context.Context, sql string) error {
	if err := testenv.Session(ctx, l.Daemon.SocketString(), func(c *pgx.Conn) error {
		_, err := c.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
		return err
	}); err != nil {
		var refused *pgconn.PgError
		if errors.As(err, &refused) && refused.Detail != "" {
			err = fmt.Errorf("%w\n%s", err, refused.Detail)
		}
		return fmt.Errorf("%s: %w", sql, err)
	}
	return nil
}

func execute(ctx context.Context, c *testenv.Cluster, db, sql string) error {
	if err := testenv.Execute(ctx, c.SocketString(db), sql); err != nil {
		return fmt.Errorf("%.60s: %w", sql, err)
	}
	return nil
}

// await asks again until a query yields true.
func await(ctx context.Context, c *testenv.Cluster, db, sql string) error {
	return testenv.Session(ctx, c.SocketString(db), func(conn *pgx.Conn) error {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			var done bool
			if err := conn.QueryRow(ctx, sql).Scan(&done); err != nil || done {
				return err
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-tick.C:
			}
		}
	})
}
