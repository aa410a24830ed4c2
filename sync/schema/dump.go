package schema

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
)

// Endpoint is what Dump needs to know of the source.
type Endpoint interface {
	// PgDump returns the arguments and the whole environment by which pg_dump connects. Files it needs are in dir until cleanup.
	PgDump(dir string) (args, env []string, cleanup func() error, err error)
	// Redact removes the endpoint's secrets from a text.
	Redact(text string) string
}

// DumpConfig says what to dump.
type DumpConfig struct {
	Endpoint Endpoint
	PgDump   string // path of the program, from FindPgDump
	Snapshot string // exported snapshot to dump under; "" takes a fresh one
	WorkDir  string // directory for files with credentials; must exist
	// Tables restricts the dump to these tables and what belongs to them, so that nothing else need be readable or locked.
	// Partitions must be listed too. Nil dumps everything. Comments on extended statistics are lost in such a dump.
	Tables []Name
}

// maxTableArguments is how many bytes of table names go onto the command line (Linux allows 2 MiB for arguments and environment);
// beyond that the whole structure is dumped and Plan picks the tables.
const maxTableArguments = 512 << 10

// stopGrace is how long a cancelled pg_dump may hold its output open.
const stopGrace = 5 * time.Second

// Dump runs pg_dump for the structure alone and returns its archive. It takes ACCESS SHARE locks on the tables while it runs.
func Dump(ctx context.Context, cfg DumpConfig) (*Archive, error) {
	args, env, cleanup, err := cfg.Endpoint.PgDump(cfg.WorkDir)
	if err != nil {
		return nil, fmt.Errorf("run pg_dump: %w", err)
	}
	archive, err := runPgDump(ctx, cfg, append(dumpArguments(cfg), args...), env)
	if err != nil {
		err = fmt.Errorf("run %s: %w", cfg.PgDump, err)
	}
	if cleanErr := cleanup(); cleanErr != nil {
		err = errors.Join(err, fmt.Errorf("remove credentials of pg_dump: %w", cleanErr))
	}
	if err != nil {
		return nil, err
	}
	return archive, nil
}

func dumpArguments(cfg DumpConfig) []string {
	args := []string{
		"--format=custom", "--schema-only", "--no-password", "--encoding=UTF8",
		// Words that became reserved between the versions of source and destination.
		"--quote-all-identifiers",
	}
	if cfg.Snapshot != "" {
		args = append(args, "--snapshot="+cfg.Snapshot)
	}
	size, tables := 0, []string(nil)
	for _, t := range cfg.Tables {
		arg := "--table=" + t.String()
		size += len(arg) + 9 // its terminator and pointer
		tables = append(tables, arg)
	}
	if size <= maxTableArguments {
		args = append(args, tables...)
	}
	return args
}

func runPgDump(ctx context.Context, cfg DumpConfig, args, env []string) (*Archive, error) {
	cmd := exec.CommandContext(ctx, cfg.PgDump, args...) //nolint:gosec // found by FindPgDump; the arguments are ours
	cmd.Env = env
	cmd.WaitDelay = stopGrace
	stderr := &tail{limit: 16 << 10}
	cmd.Stderr = stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	archive, readErr := ReadArchive(stdout)
	// pg_dump must be able to finish, else a reader's error would hide behind "broken pipe".
	_, drainErr := io.Copy(io.Discard, stdout)
	waitErr := cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case waitErr != nil:
		return nil, fmt.Errorf("%w: %s", waitErr, cfg.Endpoint.Redact(strings.TrimSpace(stderr.String())))
	case readErr != nil:
		return nil, readErr
	case drainErr != nil:
		return nil, drainErr
	}
	return archive, nil
}

// tail keeps the last bytes written to it.
type tail struct {
	bytes.Buffer
	limit int
}

func (t *tail) Write(p []byte) (int, error) {
	t.Buffer.Write(p)
	if extra := t.Len() - t.limit; extra > 0 {
		t.Next(extra)
	}
	return len(p), nil
}
