package catalog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// minMajor is the oldest PostgreSQL that can hold the catalog.
const minMajor = 13

// binaries is a directory with initdb and postgres.
type binaries struct {
	dir   string
	major int
}

// findBinaries lists the server binaries of this machine in order of preference: PATH, pg_config --bindir, then
// /usr/lib/postgresql, newest first.
func findBinaries(ctx context.Context) []binaries {
	var dirs []string
	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil { // initdb finds its companions beside itself
			dirs = append(dirs, filepath.Dir(path))
		}
	}
	if out, err := exec.CommandContext(ctx, "pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}
	packaged, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is well formed
	var found, newest []binaries
	for _, dir := range dirs {
		found = appendBinaries(ctx, found, dir)
	}
	for _, dir := range packaged {
		newest = appendBinaries(ctx, newest, dir)
	}
	slices.SortStableFunc(newest, func(a, b binaries) int { return b.major - a.major })
	return append(found, newest...)
}

func appendBinaries(ctx context.Context, found []binaries, dir string) []binaries {
	if info, err := os.Stat(filepath.Join(dir, "initdb")); err != nil || info.IsDir() {
		return found
	}
	out, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output() //nolint:gosec // found above
	if err != nil {
		return found
	}
	match := serverVersion.FindStringSubmatch(string(out))
	if match == nil {
		return found
	}
	major, err := strconv.Atoi(match[1])
	if err != nil {
		return found
	}
	return append(found, binaries{dir: dir, major: major})
}

var serverVersion = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// chooseBinaries takes the first binaries that fit: of the cluster's major version if there is a cluster (major > 0),
// else any that can hold a catalog.
func chooseBinaries(found []binaries, major int) (binaries, error) {
	var versions []string
	for _, b := range found {
		if b.major == major || major == 0 && b.major >= minMajor {
			return b, nil
		}
		versions = append(versions, strconv.Itoa(b.major))
	}
	slices.Sort(versions)
	have := "none are installed"
	if len(versions) > 0 {
		have = "installed: " + strings.Join(slices.Compact(versions), ", ")
	}
	if major == 0 {
		return binaries{}, fmt.Errorf("the catalog needs the server binaries of PostgreSQL %d or newer; %s", minMajor, have)
	}
	return binaries{}, fmt.Errorf("the catalog was made by PostgreSQL %d, whose server binaries are missing; %s", major, have)
}

// clusterMajor reads the version of an existing data directory; 0 when there is none.
func clusterMajor(data string) (int, error) {
	text, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("version of the catalog: %w", err)
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("version of the catalog: %w", err)
	}
	return major, nil
}
