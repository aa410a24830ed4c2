package schema

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"slices"
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
	// Relations restricts the dump to these tables, views, materialized views and sequences and what belongs to them, so that nothing else
	// need be readable or locked. Partitions must be listed too. Nil dumps everything. Comments on extended statistics are lost in
	// such a dump.
	Relations []Name
	// WithoutSchemas leaves out the relations of these schemas, Without single ones, for the same purpose.
	WithoutSchemas []string
	Without        []Name
}

// Restrict limits the dump to what the selection needs. Plan makes the choice; this keeps pg_dump from locking what nobody asked for.
func (c *DumpConfig) Restrict(sel Selection, inv *Inventory) {
	scope, wholly := newScope(sel), map[string]bool{}
	for _, rel := range inv.relations {
		wholly[rel.Schema] = wholly[rel.Schema] || inv.selected[rel.OID] || scope.whole(rel.Schema)
	}
	for _, oid := range slices.Sorted(maps.Keys(inv.relations)) {
		rel := inv.relations[oid]
		_, unsupported := inv.unsupported[catalogID{classRelation, oid}]
		switch selected := inv.selected[oid]; {
		case sel.OnlyRelations() && selected:
			c.Relations = append(c.Relations, rel.name())
		case sel.OnlyRelations(), selected, unsupported, !wholly[rel.Schema], rel.exclusion() != "":
		default:
			c.Without = append(c.Without, rel.name())
		}
	}
	for name, needed := range wholly {
		if !needed && !sel.OnlyRelations() {
			c.WithoutSchemas = append(c.WithoutSchemas, name)
		}
	}
	slices.Sort(c.WithoutSchemas)
}

// maxRestrictions is how many bytes of names go onto the command line (Linux allows 2 MiB for arguments and environment);
// beyond that the whole structure is dumped and Plan picks the tables.
const maxRestrictions = 512 << 10

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
	var restrictions []string
	for _, n := range cfg.Relations {
		restrictions = append(restrictions, "--table="+n.String())
	}
	for _, name := range cfg.WithoutSchemas {
		restrictions = append(restrictions, "--exclude-table="+Name{Name: name}.String()+".*")
	}
	for _, n := range cfg.Without {
		restrictions = append(restrictions, "--exclude-table="+n.String())
	}
	size := 0
	for _, arg := range restrictions {
		size += len(arg) + 9 // its terminator and pointer
	}
	if size <= maxRestrictions {
		args = append(args, restrictions...)
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
